"""The edge's errors: limits in their messages."""

import json

from harness import luajit


def test_a_limit_is_put_into_the_messages() -> None:
    lines = "\t".join(luajit.run("errors.lua")).splitlines()
    assert [int(line.split("\t")[0]) for line in lines] == [400, 413] * 3
    errors = [json.loads(line.split("\t")[1])["error"] for line in lines]
    assert [error["code"] for error in errors] == ["too_many_ips", "body_too_large"] * 3
    assert [error["message"] for error in errors] == [
        "the limit is {batch_limit}",
        "{body_limit} bytes, {batch_limit} addresses",
        "the limit is 100000",
        "{body_limit} bytes, 100000 addresses",
        "the limit is 100000",
        "65536 bytes, 100000 addresses",
    ]

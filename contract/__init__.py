"""The contract and its generator; README.md describes them."""

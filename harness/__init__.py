"""The harness: real servers, blobs with known answers, and the rule about error logs."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder."""

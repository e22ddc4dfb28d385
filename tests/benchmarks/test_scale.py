"""What `python -m benchmarks scale` counts: the posts of each round, and the bytes of a topic."""

from pathlib import Path

from benchmarks.ledger.surroundings import log_bytes
from benchmarks.ledger.traffic import traffic
from benchmarks.scale import slices

NOW = 1_790_000_000.0


def test_the_rounds_have_every_post_once_and_end_with_all_pairs() -> None:
    load = traffic(1_000, 15, now=NOW)
    rounds = list(slices(load, 400))
    assert [post for posts, _, _ in rounds for post in posts] == load.posts
    assert [until for _, until, _ in rounds] == [405, 810, 1_000]
    assert [pairs for _, _, pairs in rounds][-1] == load.pairs
    assert sorted(load.pairs_after) == load.pairs_after


def test_a_pair_is_counted_once_however_often_its_message_is_opened() -> None:
    load = traffic(1_000, 1, now=NOW)
    bodies = {post.value for post in load.posts}
    assert load.messages < load.pairs < len(bodies) == load.events


def test_the_bytes_of_a_topic_are_those_of_its_own_segments(tmp_path: Path) -> None:
    for partition, name, size in (
        ("webhooks.sendgrid-0", "00000000000000000000.log", 100),
        ("webhooks.sendgrid-12", "00000000000000000000.log", 20),
        ("webhooks.sendgrid-12", "00000000000000000007.log", 3),
        ("webhooks.sendgrid-12", "00000000000000000000.index", 1_000),
        ("webhooks.sendgrid.changelog-0", "00000000000000000000.log", 1_000),
    ):
        folder = tmp_path / partition
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x" * size)
    assert log_bytes(tmp_path, "webhooks.sendgrid") == 123

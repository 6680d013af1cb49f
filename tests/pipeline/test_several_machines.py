"""GPUs are asked for where a cluster could have any."""

from __future__ import annotations

import pytest

from pipeline.train import scaling


@pytest.mark.parametrize(
    ("has", "could_have", "asked_for"),
    [({}, {}, 0), ({"GPU": 2.0}, {}, 1), ({}, {"GPU": 4.0}, 1), ({"GPU": 2.0}, {"GPU": 4.0}, 1)],
)
def test_gpus_are_asked_for_where_the_cluster_has_any_or_could_start_some(
    has: dict[str, float], could_have: dict[str, float], asked_for: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 8.0, **has})
    monkeypatch.setattr("pipeline.cluster.could_have", lambda: could_have)
    asked = scaling(2, None).resources_per_worker or {}
    assert asked.get("GPU", 0) == asked_for
    assert (scaling(2, 0.5).resources_per_worker or {})["GPU"] == 0.5
    assert not scaling(2, 0).use_gpu

"""The report of a benchmark: last line and file."""

import json

from benchmarks.result import write_result


def test_prints_one_json_line_and_writes_the_setting_beside_it(tmp_path, capsys):
    figures = {"model": "ViT-B-16", "ratio": 1.01}
    write_result("taps", figures, folder=tmp_path / "results")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == figures
    written = json.loads((tmp_path / "results" / "taps.json").read_text())
    assert written.items() >= figures.items()
    assert written["setting"].keys() >= {"date", "cpu", "cores", "torch", "zarr", "ray"}

"""The benchmark of searches, run small."""

from benchmarks.retrieval import QUICK, index_bytes, measure, write_random_index
from decoders.omnivl.finding.index import Index


def test_measures_both_stages(tmp_path):
    write_random_index(tmp_path / "index", QUICK)
    index = Index(tmp_path / "index")
    assert index.embeddings.nbytes + index.tokens.nbytes == index_bytes(QUICK)
    assert index.item(7).keys == ("clips/000007.mp4",)
    figures = measure(tmp_path / "index", QUICK)
    assert figures["stage_one_mb"] == 2000 * 16 * 4 / 1e6
    assert figures["stage_two_mb"] == round(32 * 5 * 32 * 2 / 1e6, 4)
    assert min(figures[f"stage_{stage}_ms_{how}"] for stage in ("one", "two") for how in ("cold", "warm")) > 0
    assert figures["fp16_over_fp32"] > 0

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nanopoet.common.errors import NanopoetError
from nanopoet.params import load_params
from tests.support.project import DEFAULT_PARAMS, ROOT


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    """Write the default with `old` replaced by `new`; `{lr}` stands for the value in the file."""
    text = DEFAULT_PARAMS.read_text(encoding="utf-8")
    values = load_params(DEFAULT_PARAMS).pretrain.model_dump()
    old, new = old.format(**values), new.format(**values)
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr: {lr}", "lr: fast", "pretrain.lr = 'fast' is not allowed: it should be a valid num"),
        ("lr: {lr}", "lr: -1", "pretrain.lr = -1 is not allowed: it should be greater than 0"),
        ("lr: {lr}", "lr: .inf", "pretrain.lr = inf is not allowed: it should be a finite number"),
        ("lr: {lr}", "lr:", "pretrain.lr = None is not allowed: it should be a valid number"),
        ("lr: {lr}", "lrr: 3e-4", "pretrain.lrr is unknown; known here: architecture, emb_size"),
        ("  lr: {lr}\n", "", "pretrain.lr is missing; add it"),
        (
            "    rhyme_level: 2.0",
            "    rhymes: 2.0",
            "reinforce.penalties.rhymes is unknown; known here: form, rhyme, rhyme_level",
        ),
        (
            "style: 七言绝句, title: 月夜",
            "style: 七言绝句, name: 月夜",
            "_requests.0.name is unknown; known here: author, style, title;",
        ),
        ("dropout: 0.0", "dropout: 1.0", "pretrain.dropout = 1.0 is not allowed: it should be le"),
        ("dropout: 0.0", "dropout: true", "pretrain.dropout = True is not allowed"),
        (
            "max_steps: {max_steps}",
            "max_steps: 1.5",
            "pretrain.max_steps = 1.5 is not allowed: it should",
        ),
        ("max_steps: {max_steps}", 'max_steps: "100"', "pretrain.max_steps = '100' is not allowed"),
        (
            "max_steps: {max_steps}",
            "max_steps: 0",
            "pretrain.max_steps = 0 is not allowed: it should be g",
        ),
        (
            "kv_head_num: {kv_head_num}",
            "kv_head_num: 3",
            "pretrain.kv_head_num = 3 does not divide pretrain.head_num = 4",
        ),
        (
            "previous_token_heads: [1, 2]",
            "previous_token_heads: [0]",
            "pretrain.previous_token_heads.0 = 0 is not allowed: it sho",
        ),
        (
            "previous_token_heads: [1, 2]",
            "previous_token_heads: [128]",
            "previous_token_heads = [128] is not allowed: at most p",
        ),
        (
            "previous_token_heads: [1, 2]",
            "previous_token_heads: [1, 1, 1, 1, 1]",
            "pretrain.previous_token_heads = [1, 1, 1, 1, 1] is not allowed: at most pretrain.head",
        ),
        ("head_num: 4", "head_num: 7", "head_num = 7 does not divide pretrain.emb_size = 256"),
        ("head_num: 4", "head_num: 256", "head_num = 256 gives a head of pretrain.emb_size = 256"),
        ("micro_batch_size: 16", "micro_batch_size: 15", "15 does not divide pretrain.batch_size"),
        ("context: 64", "context: 128", "evaluate.context = 128 is not below pretrain.block_size"),
        ("device: auto", "device: tpu", "device = 'tpu' is not allowed: it should be 'auto', 'cpu"),
        ("pretrain:", "pretrains:", "pretrains is unknown; known here: fetch, load, split"),
        (
            "split:\n  val_every: 10\n  duplicates: ignore",
            "split: 3",
            "split = 3 is not allowed: it sh",
        ),
        (
            "duplicates: ignore",
            "duplicates: apart",
            "split.duplicates = 'apart' is not allowed: it should be 'ig",
        ),
        ("integrity: sha512-", "integrity: sha1-", "fetch.integrity = 'sha1-"),
        (
            "integrity: sha512-",
            "integrity: sha1-",
            "is not allowed: it should be the digest of the archive in the notation of the reg",
        ),
        (
            'sample_prompts: [""',
            'sample_prompts: ["明 月"',
            "sample_prompts.0 = '明 月' is not allowed: it should be the beginnings of the "
            "samples, without spaces and quotes",
        ),
        (
            'sample_prompts: ["", 明月, 春風]',
            "sample_prompts: []",
            "it should not be empty; change",
        ),
        (
            'torchrun: ""',
            "torchrun: --module os",
            "torchrun = '--module os' is not allowed: it should be the options for `torchrun`, su",
        ),
        (
            "emb_size: {emb_size}",
            "emb_size: 1000000000",
            "emb_size = 1000000000 is not allowed: it should be less than or equal to 1000000;",
        ),
        ("lr: {lr}", "lr: 1.0e+300", "pretrain.lr = 1e+300 is not allowed: it should be less"),
        ("source: raw/chinese-poetry.tgz", "source: 7", "load.source = 7 is not allowed"),
        ("source: raw", "source: ~/raw", "load.source = '~/raw/chinese-poetry.tgz' is not allowed"),
        ("lr: {lr}", "lr: {lr}\n  lr: 1", ': not valid YAML: found duplicate key "lr"'),
        ("lr: {lr}", "lr: [1", ": not valid YAML"),
        ("lr: {lr}", "lr: !!python/name:os.system", ": not valid YAML: could not determine a c"),
    ],
)
def test_mistakes_are_named_on_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = _edited(tmp_path, old, new)
    with pytest.raises(NanopoetError) as caught:
        load_params(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_default_of_the_tests_has_the_parameters_of_the_file() -> None:
    ours, theirs = load_params(ROOT / "params.yaml"), load_params(DEFAULT_PARAMS)
    assert ours.model_dump().keys() == theirs.model_dump().keys()


@pytest.mark.parametrize("raw", [b"", b"[1, 2]", b"\xff\xfe", b"\t", b"\x00"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(raw)
    with pytest.raises(NanopoetError, match=r"not allowed|not valid YAML|not UTF-8"):
        load_params(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NanopoetError, match="no such file"):
        load_params(tmp_path / "params.yaml")


def test_the_first_check_of_make_repro_names_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    command = [sys.executable, "-m", "nanopoet.params"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "params.yaml" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_number_in_scientific_notation_is_a_number(
    write_params: Callable[..., Path],
) -> None:
    path = write_params(pretrain={"lr": 0.5})
    path.write_text(path.read_text(encoding="utf-8").replace("lr: 0.5", "lr: 5e-1"), "utf-8")
    assert load_params(path).pretrain.lr == 0.5

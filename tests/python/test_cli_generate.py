"""`foresight generate`: what it reads, what it writes, and what it refuses before it starts."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import foresight as fs
from foresight.cli import loading, main
from foresight.cli.branch_spec import parse_branches
from foresight.cli.records import read_records
from foresight.tasks import get
from support.fake_lm import FakeLM
from support.terminal import Terminal


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> FakeLM:
    fake = FakeLM()
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: fake)
    return fake


def write(path: Path, *records: Any) -> str:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return str(path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_prompt_prints_its_new_text(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "a=1"]) == 0
    assert capsys.readouterr().out == "1=a\n"


def test_several_prompts_get_headings(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "a=1", "--prompt", "b=2", "-p", "c"]) == 0
    assert capsys.readouterr().out == "==> 1 <==\n1=a\n\n==> 2 <==\n2=b\n\n==> 3 <==\nc\n"
    assert len(lm.calls) == 1


def test_a_prompt_that_begins_with_a_dash(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "-p", "-"]) == 0
    assert capsys.readouterr().out == "-\n"
    assert main(["generate", "m", "--", "-1"]) == 0
    assert capsys.readouterr().out == "1-\n"


def test_several_sequences_get_headings(lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "a", "--num-return-sequences", "2", "--do-sample"]) == 0
    assert capsys.readouterr().out == "==> 1 [0] <==\na\n\n==> 1 [1] <==\na\n"


def test_options_reach_generate(lm: FakeLM) -> None:
    words = [
        "--max-new-tokens",
        "3",
        "--do-sample",
        "--temperature",
        "0.5",
        "--top-p",
        "0.9",
        "--top-k",
        "7",
        "--stop",
        "x",
        "--stop",
        "y",
    ]
    settings = ["--set", "repetition_penalty=1.5", "--set", "bad_words_ids=[[1]]"]
    assert main(["generate", "m", "a", *words, *settings, "--seed", "5"]) == 0
    (call,) = lm.calls
    expected = {
        "max_new_tokens": 3,
        "do_sample": True,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "stop_strings": ["x", "y"],
        "repetition_penalty": 1.5,
        "bad_words_ids": [[1]],
    }
    assert {key: call[key] for key in expected} == expected


def test_loading_options_reach_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def load(model: str, **options: Any) -> FakeLM:
        seen.update(options, model=model)
        return FakeLM()

    monkeypatch.setattr(loading, "load_model", load)
    words = [
        "--threads",
        "2",
        "--dtype",
        "float32",
        "--kv-cache-bytes",
        "1M",
        "--config",
        "attention=full",
        "--revision",
        "v1",
    ]
    assert main(["generate", "some/model", "a", *words]) == 0
    assert seen == {
        "model": "some/model",
        "threads": 2,
        "dtype": "float32",
        "kv_cache_bytes": 2**20,
        "config": {"attention": "full"},
        "revision": "v1",
    }


def test_jsonl_in_and_out(lm: FakeLM, tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl",
        {"prompt": "a=1", "id": "first", "seed": 7},
        "",
        {"messages": [{"role": "user", "content": "b"}]},
        {"input_ids": [5, 6], "id": 10},
    )
    out = tmp_path / "out.jsonl"
    assert main(["generate", "m", "--input", source, "--out", str(out), "--seed", "3"]) == 0
    first, second, third = lines(out)
    assert list(first) == ["id", "sequence", "text", "new_tokens", "finish_reason", "seed"]
    assert (first["id"], first["seed"], first["text"]) == ("first", 7, "1=a")
    assert (second["id"], second["text"]) == (3, "\nb")
    assert (third["id"], third["new_tokens"], third["finish_reason"]) == (10, [6, 5, 2], "eos")
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("in.jsonl", "out.jsonl")] == []


def test_branches_are_decided_and_told(lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems = get("reasoner").problems(2)
    source = write(tmp_path / "in.jsonl", *({"input_ids": problem.prompt} for problem in problems))
    out = tmp_path / "out.jsonl"
    words = ["generate", "m", "-i", source, "--do-sample", "--branches", "parallel_probe:width=8,stable=3"]
    assert main([*words, "-o", str(out)]) == 0
    (call,) = lm.calls
    assert call["branches"] == fs.ParallelProbe(width=8, stable=3)
    assert "watch" not in call
    for record, problem in zip(lines(out), problems, strict=True):
        assert list(record)[-2:] == ["answer", "votes"]
        assert record["sequence"] == 0
        assert record["answer"] == problem.answer
        assert record["votes"][problem.answer] == 6.0
    assert main(words) == 0
    assert capsys.readouterr().out.count("answer:") == 2


@pytest.mark.parametrize(
    ("spec", "controller"),
    [
        ("8", fs.SelfConsistency(8)),
        ("auto", fs.LikelyLead()),
        ("auto:width=4", fs.LikelyLead(4)),
        ("beta_stop", fs.BetaStop()),
        ("waves:sizes=[2,6], fraction=0.5,confidence=0.9", fs.Waves((2, 6), 0.5, 0.9)),
        ("parallel_probe:order=virtual", fs.ParallelProbe(order="virtual")),
    ],
)
def test_how_branches_are_read(spec: str, controller: Any) -> None:
    found = parse_branches(spec)
    assert type(found) is type(controller)
    assert found.core_options() == controller.core_options()
    assert found.order == controller.order


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--branches", "foo"], "known are adaptive_consistency, auto, beta_stop"),
        (["--branches", "beta_stop:confidance=0.9"], "has no option 'confidance'; it has"),
        (["--branches", "0"], "width is 0"),
        (["--branches", "beta_stop:confidence=2"], "confidence is 2"),
        (["--branches", "beta_stop:confidence"], "'confidence' is not KEY=VALUE"),
        (["--branches", "beta_stop:width=True"], "write true"),
        (["--branches", "8:width=3"], "'8' is not known"),
        (["--branches", ""], "known are"),
        (["--branches", "memory_prune"], "kv_cache_bytes"),
        (["--branches", "4", "--num-return-sequences", "2"], "only the winner is returned"),
        (["--set", "branches=4"], "--branches"),
    ],
)
def test_branches_that_are_refused(words: list[str], told: str, lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "a", "--do-sample", *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert lm.calls == []


def test_a_terminal_shows_the_branches_while_they_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORESIGHT_PROGRESS", raising=False)
    words = ["generate", "bundled:reasoner", "--branches", "parallel_probe:width=6,interval=8,stable=3", "--do-sample"]
    problems = ["c=b*6;a=7;b=a+25;c?\n", "b=a+2;a=3;b?\n"]
    seen = []
    for prompts in (problems[:1], problems):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert main([*words, "--seed", "1", *prompts]) == 0
        seen.append(terminal.getvalue())
        assert "6 branches" in seen[-1]
    assert "votes" in seen[0].rpartition("clock")[2]
    assert seen[1].endswith("\x1b[J")  # taken away, since texts follow each other
    monkeypatch.setenv("FORESIGHT_PROGRESS", "0")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main([*words, "--seed", "1", *problems]) == 0
    assert terminal.getvalue() == ""
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.count("==> 1 <==") == 2


def test_seeds_are_repeatable_and_told(lm: FakeLM, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", {"prompt": "a"}, {"prompt": "b"}, {"prompt": "c", "seed": 1})
    seen = []
    for name, seed in (("x", "3"), ("y", "3"), ("z", "4")):
        out = tmp_path / f"{name}.jsonl"
        assert main(["generate", "m", "-i", source, "-o", str(out), "--seed", seed]) == 0
        seen.append([record["seed"] for record in lines(out)])
    assert seen[0] == seen[1] == lm.calls[0]["seed"]
    assert seen[0][2] == seen[2][2] == 1
    assert len({*seen[0], *seen[2]}) == 5


def test_without_a_seed_every_run_differs(lm: FakeLM) -> None:
    main(["generate", "m", "a"])
    main(["generate", "m", "a"])
    assert lm.calls[0]["seed"] != lm.calls[1]["seed"]


def test_own_limits(lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", {"prompt": "abc", "max_new_tokens": 1}, {"prompt": "abc"})
    assert main(["generate", "m", "-i", source, "--max-new-tokens", "2", "--format", "jsonl"]) == 0
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["c", "cb"]
    assert main(["generate", "m", "-i", source]) == 1
    assert "in.jsonl:2" in capsys.readouterr().err


def test_text_file_and_stdin(
    lm: FakeLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.txt"
    source.write_bytes(b"\xef\xbb\xbfa=1\r\n\nb=2")
    assert main(["generate", "m", "-i", str(source)]) == 0
    expected = capsys.readouterr().out
    assert expected == "==> 1 <==\n1=a\n\n==> 3 <==\n2=b\n"
    for words in (["-"], ["-i", "-"], ["-i", "-", "--input-format", "txt"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
        assert main(["generate", "m", *words]) == 0
        assert capsys.readouterr().out == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "c=3"}')))
    assert main(["generate", "m", "-", "--input-format", "jsonl"]) == 0
    assert capsys.readouterr().out == "3=c\n"


def test_a_terminal_sees_the_text_as_it_comes(lm: FakeLM, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["generate", "m", "a=1"]) == 0
    assert terminal.getvalue() == "1=a\n"
    assert [piece for piece in terminal.pieces if piece][:3] == ["1", "=", "a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected a JSON object"),
        ("{}", "exactly one of"),
        ('{"prompt": "a", "input_ids": [1]}', "exactly one of"),
        ('{"prompt": ""}', "prompt"),
        ('{"prompt": 3}', "prompt"),
        ('{"prompt": "\\ud800"}', "surrogate"),
        ('{"prompt": "a", "max_tokens": 3}', "max_tokens"),
        ('{"prompt": "a", "prompt": "b"}', "twice"),
        ('{"prompt": "a", "id": [1]}', "id"),
        ('{"prompt": "a", "id": "same"}', "same"),
        ('{"prompt": "a", "seed": -1}', "seed"),
        ('{"prompt": "a", "seed": true}', "seed"),
        ('{"prompt": "a", "max_new_tokens": 0}', "max_new_tokens"),
        ('{"input_ids": []}', "input_ids"),
        ('{"input_ids": [1, -1]}', "-1"),
        ('{"input_ids": [1, 2.0]}', "2.0"),
        ('{"messages": []}', "messages"),
        ('{"messages": ["hi"]}', "role"),
        ('{"messages": [{"role": "user"}]}', "content"),
        ("[" * 100_000, "JSON"),
        ('{"prompt": "\udcff"}', "UTF-8"),
    ],
)
def test_a_malformed_line_is_named_before_anything_happens(
    line: str, message: str, lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    text = '{"prompt": "a", "id": "same"}\n\n' + line + '\n{"prompt": "b"}\n'
    source.write_bytes(text.encode("utf-8", "surrogateescape"))
    out = tmp_path / "out.jsonl"
    assert main(["generate", "m", "-i", str(source), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"foresight: error: {source}:3: ")
    assert message in error
    assert error.count("\n") == 1
    assert lm.calls == []
    assert not out.exists()


def test_ids_outside_the_vocabulary_are_named_with_their_line(
    lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.jsonl", {"prompt": "a"}, {"input_ids": [1, 5000]})
    assert main(["generate", "m", "-i", source]) == 1
    error = capsys.readouterr().err
    assert "in.jsonl:2" in error
    assert "5000" in error
    assert lm.calls == []


def test_an_empty_file_is_an_error(lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "-i", write(tmp_path / "in.txt", "", " ")]) == 1
    assert "holds no prompts" in capsys.readouterr().err
    assert main(["generate", "m", "-i", str(tmp_path / "absent.txt")]) == 1
    assert "absent.txt: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a", "-"],
        ["-", "-i", "x.txt"],
        ["a", "-i", "x.txt"],
        ["a", "--input-format", "txt"],
        ["-i", "x.csv"],
        ["-i", "x.txt", "--input-format", "csv"],
        ["a", "--format", "xml"],
        ["a", "--set", "top_k=1", "--top-k", "2"],
        ["a", "--set", "seed=-1"],
        ["a", "--set", "num_return_sequences=many"],
        ["a", "--set", "num_return_sequences=0"],
        ["a", "--set", "streamer=1"],
        ["a", "--config", "attention"],
        ["a", "--kv-cache-bytes", "lots"],
        ["a", "--threads", "0"],
    ],
)
def test_usage_errors(words: list[str], lm: FakeLM, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", *words]) == 2
    assert capsys.readouterr().err.startswith("foresight: error: ")
    assert lm.calls == []


def test_no_tokenizer(
    lm: FakeLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lm.tokenizer = None
    source = write(tmp_path / "in.jsonl", {"input_ids": [5, 6]})
    assert main(["generate", "m", "-i", source]) == 1
    assert "--format jsonl" in capsys.readouterr().err
    assert main(["generate", "m", "-i", source, "--format", "jsonl"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["text"], record["new_tokens"]) == (None, [6, 5, 2])
    assert main(["generate", "m", "text", "--format", "jsonl"]) == 1
    assert "prompt 1: text needs a tokenizer" in capsys.readouterr().err


def test_no_chat_template(lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm.chat_template = None
    source = write(tmp_path / "in.jsonl", {"messages": [{"role": "user", "content": "b"}]})
    assert main(["generate", "m", "-i", source]) == 1
    error = capsys.readouterr().err
    assert "in.jsonl:1" in error
    assert "chat template" in error


def fail(error: BaseException) -> Any:
    def raise_it() -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(("error", "status"), [(ValueError("no"), 1), (KeyboardInterrupt(), 130)])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    error: BaseException, status: int, lm: FakeLM, tmp_path: Path
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")
    lm.before = fail(error)
    assert main(["generate", "m", "a", "-o", str(out)]) == status
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_the_new_file_has_the_old_ones_permissions_and_follows_links(lm: FakeLM, tmp_path: Path) -> None:
    real, link, fresh = tmp_path / "real.txt", tmp_path / "link.txt", tmp_path / "fresh.txt"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    assert main(["generate", "m", "a=1", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert real.read_text() == "1=a\n"
    assert real.stat().st_mode & 0o777 == 0o640
    mask = os.umask(0o027)
    try:
        assert main(["generate", "m", "a=1", "-o", str(fresh)]) == 0
    finally:
        os.umask(mask)
    assert fresh.stat().st_mode & 0o777 == 0o640


def test_devices_stay_devices(lm: FakeLM) -> None:
    assert main(["generate", "m", "a", "-o", "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()


def test_where_nothing_can_be_written(lm: FakeLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "m", "a", "-o", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err
    assert main(["generate", "m", "a", "-o", str(tmp_path / "absent" / "out.txt")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert lm.calls == []


def test_a_kill_leaves_no_half_file_under_the_final_name(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    code = (
        "import sys, time; from foresight.cli import loading, main; from support.fake_lm import FakeLM\n"
        "lm = FakeLM(before=lambda: (print('ready', file=sys.stderr, flush=True), time.sleep(60)))\n"
        "loading.load_model = lambda *a, **k: lm\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "generate", "m", "a", "-o", str(out)],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert out.read_text() == "old"


def test_records_number_lines_as_editors_do(tmp_path: Path) -> None:
    source = write(tmp_path / "in.txt", "a\x0bb\u2028c", "", "d")
    assert [(record.id, record.prompt) for record in read_records(source, jsonl=False)] == [
        (1, "a\x0bb\u2028c"),
        (3, "d"),
    ]


def test_the_told_seed_repeats_a_real_record_alone(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "c=b*6;a=7;b=a+25;c?"}]}
    source = write(tmp_path / "in.jsonl", {"prompt": "a=1;b=a+1;b?\n"}, {**chat, "max_new_tokens": 40})
    out = tmp_path / "out.jsonl"
    options = ["--kv-cache-bytes", "16M", "--do-sample", "--num-return-sequences", "2"]
    words = ["generate", "bundled:reasoner", *options, "-i", source, "-o", str(out)]
    assert main([*words, "--max-new-tokens", "60", "--seed", "1"]) == 0
    together = lines(out)
    assert [(record["id"], record["sequence"]) for record in together] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert all(len(record["new_tokens"]) <= 40 for record in together[2:])
    write(tmp_path / "in.jsonl", {**chat, "max_new_tokens": 40, "seed": together[2]["seed"]})
    assert main(words) == 0
    alone = lines(out)
    assert [record["new_tokens"] for record in alone] == [record["new_tokens"] for record in together[2:]]

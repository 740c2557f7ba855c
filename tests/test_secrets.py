"""No key, token or password is among the files of the project, and nothing that runs what it reads."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SECRETS = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "AWS key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{60,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "API key": r"\bsk-[A-Za-z0-9_-]{32,}\b",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.",
    "password in an address": r"https?://[^/\s:@\"']+:[^/\s:@\"'$<{]+@",
    "password": r"(?i)\b(password|passwd|secret|api_?key|auth_?token)\b\s*[:=]\s*[\"'][^\"'\s]{6,}[\"']",
}
ANY = {name: re.compile(pattern) for name, pattern in SECRETS.items()}


def texts():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            path.is_file()
            and name != f"tests/{Path(__file__).name}"
            and b"\0" not in (content := path.read_bytes())[:8000]
        ):
            yield name, content.decode("utf-8", "replace")


def found(text):
    return [name for name, pattern in ANY.items() if pattern.search(text)]


def test_no_file_holds_a_secret():
    assert {name: kinds for name, text in texts() if (kinds := found(text))} == {}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("AKIA" + "ABCDEFGH12345678", "AWS key"),
        ("ghp_" + "a1" * 18, "GitHub token"),
        ("hf_" + "Ab" * 17, "Hugging Face token"),
        ('api_key = "0123456789"', "password"),
        ("https://me:hidden@example.org", "password in an address"),
    ],
)
def test_what_it_looks_for_is_found(text, kind):
    assert found(text) == [kind]


#: Calls that run text as code, start a shell, or build objects out of files.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load",
    "marshal.loads", "shelve.open", "jinja2.Markup", "markupsafe.Markup",
}  # fmt: skip


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}


@pytest.mark.parametrize("folder", ["harness", "baselines"])
def test_nothing_runs_what_it_reads(folder):
    """The linter says the same; this holds whatever comments silence it."""
    wrong = []
    for path in (ROOT / folder).rglob("*.py"):
        for name, words in calls(ast.parse(path.read_text(encoding="utf-8"))):
            shell = words.get("shell", "False") != "False"
            unsafe = name == "torch.load" and words.get("weights_only") != "True"
            pickled = name == "np.load" and words.get("allow_pickle", "False") != "False"
            if name in FORBIDDEN or shell or unsafe or pickled:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []

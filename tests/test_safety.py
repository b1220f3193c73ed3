"""What no module of the packages may do: run code that came as data."""

import ast
import re
from pathlib import Path

import pytest

PACKAGES = ("broker_filter", "model", "benchmarks", "deploy")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "pandas.read_pickle",
}
# Without one of these words nothing below can be found: the other modules need not be parsed.
SUSPICIOUS = re.compile(
    r"[pP]ickle|\bdill\b|joblib|shelve|marshal|\bshell\s*=|(?<![\w.])(?:eval|exec|compile|__import__)\s*\("
    r"|\b(?:system|popen|load|unsafe_load|full_load|load_all)\s*\("
)
SAFE_YAML_BASES = {"yaml.SafeLoader", "yaml.CSafeLoader", "SafeLoader", "CSafeLoader"}


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a chain of names, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def keyword(call: ast.Call, name: str) -> object:
    """The constant that a call gives for a keyword; None where it gives none."""
    values = [k.value.value for k in call.keywords if k.arg == name and isinstance(k.value, ast.Constant)]
    return values[0] if values else None


def offences(source: str) -> list[str]:
    """What a module does that it may not, with the line."""
    if not SUSPICIOUS.search(source):
        return []
    tree = ast.parse(source)
    safe_loaders = SAFE_YAML_BASES | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(dotted(base) in SAFE_YAML_BASES for base in node.bases)
    }
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            lines += [f"{node.lineno}: {name}" for name in modules if name.partition(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        unsafe = {
            "yaml.load": lambda call: (
                not {dotted(a) for a in [*call.args, *(k.value for k in call.keywords)]} & safe_loaders
            ),
            "torch.load": lambda call: keyword(call, "weights_only") is not True,
            "np.load": lambda call: keyword(call, "allow_pickle") is True,
            "numpy.load": lambda call: keyword(call, "allow_pickle") is True,
        }
        if name in FORBIDDEN_CALLS or (name in unsafe and unsafe[name](node)) or keyword(node, "shell") is True:
            lines.append(f"{node.lineno}: {name}")
    return lines


def test_no_module_runs_what_came_as_data(repo_root: Path) -> None:
    """Weights, settings, data sets and alerts are read by formats that hold no code."""
    modules = [path for package in PACKAGES for path in (repo_root / package).rglob("*.py")]
    assert len(modules) > 100
    offences_of = {str(path.relative_to(repo_root)): offences(path.read_text("utf-8")) for path in modules}
    assert {path: lines for path, lines in offences_of.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "yaml.load(f)",
        "yaml.load(f, yaml.Loader)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
    ],
)
def test_offences_are_seen(source: str) -> None:
    """The check above finds what it looks for."""
    assert len(offences(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "yaml.load(f, yaml.SafeLoader)",
        "class Ours(yaml.SafeLoader): ...\nyaml.load(f, Loader=Ours)",
        "torch.load(f, weights_only=True)",
        "np.load(f)",
        "network.eval()",
        "re.compile('x')",
    ],
)
def test_what_is_safe_is_let_alone(source: str) -> None:
    """The check above finds no more than that."""
    assert offences(source) == []

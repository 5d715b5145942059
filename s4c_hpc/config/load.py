"""Read a configuration: defaults < profile < file < environment < flags, remembering where each value came from."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from s4c_hpc.config.model import Config
from s4c_hpc.core.errors import ConfigError, MissingDataError, listing

ENV_PREFIX = "S4C_SET__"
"""Environment variables like ``S4C_SET__EXTRACT__WEIGHTING=coverage`` override the file."""

_NOT_KEYS = {"float", "literal['none']", "[key]"}
"""What pydantic puts into the place of an error beside the keys: variants of a value, and that a key is to blame."""

_KIND_AT = 2
"""In the place of an error in a source, ``sources``, number, kind, key, its kind is no key either."""

_PATHS = (
    ("parcels", "file"),
    ("parcels", "crop_table"),
    ("parcels", "hcat_table"),
    ("parcels", "pseudonyms", "key_file"),
    ("parcels", "within"),
    ("parcels", "strata", "file"),
    ("classify", "model_file"),
    ("practices", "table"),
    ("execute", "metrics_file"),
)
"""Keys that are paths, besides those of sources."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class LoadedConfig:
    """A checked configuration and the origin of each value that is not a default."""

    config: Config
    origins: Mapping[str, str]
    """Dotted key -> file, environment variable or flag that set it; keys not listed are defaults."""

    def flat(self) -> Iterator[tuple[str, Any, str]]:
        """Every value as ``(dotted key, value, origin)``, in the order of the model."""
        for key, value in _leaves(self.config.model_dump(mode="json")):
            origin = next((self.origins[k] for k in _prefixes(key) if k in self.origins), "default")
            yield key, value, origin


def load_config(
    path: Path,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
) -> LoadedConfig:
    """Read and check a configuration file.

    Parameters
    ----------
    path : the TOML file; a top-level ``profile = "other.toml"`` is read first and overridden by it.
        Relative paths inside are relative to the file that names them.
    environment : variables for ``${NAME}``, ``${NAME:-default}`` and overrides; the process's own by default
    flags : ``key=value`` texts, e.g. ``extract.weighting=coverage``; values in TOML, or plain text

    Raises
    ------
    ConfigError
        Names the key, the file and, for an unknown key, the nearest valid one.
    """
    environment = os.environ if environment is None else environment
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    own = _read(path, environment)
    profile = own.pop("profile", None)
    layers: list[tuple[dict[str, Any], str]] = []
    if profile is not None:
        profile_path = (path.parent / str(profile)).resolve()
        if not profile_path.exists():
            raise MissingDataError(
                "no such site profile",
                where=str(profile_path),
                hint=f"mend 'profile' at the top of {path}; 's4c plan --size --write FILE' writes one",
            )
        layers.append((_read(profile_path, environment), str(profile_path)))
    layers.append((own, str(path)))
    for name, text in sorted(environment.items()):
        if name.startswith(ENV_PREFIX):
            key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            layers.append((_nest(key, _value(text)), f"environment {name}"))
    for flag in flags:
        key, equals, text = flag.partition("=")
        if not equals:
            raise ConfigError(
                f"{flag!r} is not of the form key=value", where="--set", hint="e.g. --set extract.weighting=coverage"
            )
        layers.append((_nest(key.strip(), _value(text)), f"--set {key.strip()}"))
    for layer, origin in layers:
        _merge(merged, layer, origins, origin)
    try:
        return LoadedConfig(Config.model_validate(merged), origins)
    except ValidationError as error:
        raise ConfigError(explain(error, origins, str(path)), hint="see 's4c config schema' for every key") from error


def _read(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise MissingDataError("no such configuration file", where=str(path), hint="'s4c init' writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=str(path)) from error
    if mode & stat.S_IWOTH:  # it names programs that jobs start
        raise ConfigError("anyone may write this file", where=str(path), hint=f"chmod o-w {shlex.quote(str(path))}")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=str(path)) from error
    expanded: dict[str, Any] = _expand(values, environment, str(path), "")
    _absolute_paths(expanded, path.parent.resolve())
    return expanded


def _expand(value: Any, environment: Mapping[str, str], where: str, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, environment, where, f"{key}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, environment, where, f"{key}.{i}") for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name in environment:
            return environment[name]
        if default is not None:
            return str(default)
        raise ConfigError(
            f"environment variable {name} is not set",
            where=f"{where}, key {key}",
            hint=f"export it or write ${{{name}:-default}}",
        )

    return _VARIABLE.sub(replace, value)


def _absolute_paths(values: dict[str, Any], base: Path) -> None:
    """Resolve the path keys of the model against the folder of the file that names them."""
    sources = values.get("sources")
    for source in sources if isinstance(sources, list) else []:
        if not isinstance(source, dict):
            continue
        for key, value in source.items():
            # A layout is a name or a file; only a file has a folder or an ending.
            is_path = key in {"root", "fmask_root"} or (
                key == "layout" and ("/" in str(value) or str(value).endswith(".toml"))
            )
            if is_path and isinstance(value, str):
                source[key] = str(base / Path(value).expanduser())
    for *sections, key in _PATHS:
        part: Any = values
        for section in sections:
            part = part.get(section) if isinstance(part, dict) else None
        # A connection to PostGIS is no path.
        if isinstance(part, dict) and isinstance(part.get(key), str) and not part[key].startswith("PG:"):
            part[key] = str(base / Path(part[key]).expanduser())


def _value(text: str) -> Any:
    """A value from a flag or the environment: TOML if it is TOML, else plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    nested: dict[str, Any] = value
    return nested


def _merge(
    into: dict[str, Any], layer: Mapping[str, Any], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    for key, value in layer.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(into.get(key, {}), dict):
            _merge(into.setdefault(key, {}), value, origins, origin, f"{dotted}.")
        else:
            into[key] = value
            for old in [k for k in origins if k == dotted or k.startswith(f"{dotted}.")]:
                del origins[old]
            origins[dotted] = origin


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}.{i}")
    else:
        yield prefix, value


def _prefixes(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key.rpartition(".")[0]


def explain(error: ValidationError, origins: Mapping[str, str], path: str, model: type[BaseModel] = Config) -> str:
    """What is wrong with a file, in words of its keys.

    Parameters
    ----------
    origins : dotted key -> what set it, where that is not ``path``
    model : what the file was held against
    """
    return "; ".join(_explain_one(e, origins, path, model) for e in error.errors(include_url=False))


def _explain_one(detail: ErrorDetails, origins: Mapping[str, str], path: str, model: type[BaseModel]) -> str:
    location = [str(part) for part in detail["loc"]]
    if location[:1] == ["sources"]:
        del location[_KIND_AT : _KIND_AT + 1]
    location = [part for part in location if part not in _NOT_KEYS]
    key = ".".join(location)
    origin = next((origins[k] for k in _prefixes(key) if k in origins), path)
    if detail["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1], model)
        nearest = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        suggestion = f"did you mean {nearest[0]!r}?" if nearest else f"valid keys here are {listing(valid, 30)}"
        return f"{origin}: unknown key {key!r}, {suggestion}"
    if detail["type"] == "missing":
        return f"{origin}: key {key!r} is missing"
    what = detail["msg"].removeprefix("Value error, ")
    return f"{origin}: key {key!r}: {what}" if key else f"{origin}: {what}"


def _valid_keys(location: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Keys that the model knows below ``location``; of every variant where there are several."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        # Neither a place in a list nor a name that the user chose is a key.
        if part.isdigit() or not any(part in m.model_fields for m in models):
            continue
        models = [
            found for m in models if part in m.model_fields for found in _models_in(m.model_fields[part].annotation)
        ]
    return sorted({name for m in models for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in get_args(annotation) for m in _models_in(argument)]

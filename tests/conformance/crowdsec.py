r"""CrowdSec's parser tests: beside a log ``parser.assert``, one assertion per field of each event at each stage.

An assertion is an expression of Go, ``results["s01-parse"]["crowdsecurity/nginx-logs"][0].Evt.Parsed["verb"] == "GET"``. The
results of a stage are told apart by their number; which line one is of, by ``Evt.Parsed["message"]``, the line or what a
wrapper holds. Equal lines have equal results, so that their order does not matter.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping

from tests.conformance.cases import DATA, CaseFile, Value
from tests.conformance.files import FILES
from tests.conformance.loading import Fields, case_file, lines_of

__all__ = ["PROJECT", "load", "parse_assertion"]

PROJECT = "crowdsec-hub"
_ASSERTION = re.compile(r'(\w+\()?results\["([^"]*)"\]\["([^"]*)"\]\[(\d+)\]\.(Evt\.)?([\w.]+)((?:\["[^"]*"\])*)\)?(?: == |, )(.*?)\)?$')
_KEY = re.compile(r'\["([^"]*)"\]')
_EXACT_TIMES = {"Unmarshaled.traefik.StartUTC", "Unmarshaled.caddy.ts"}

Result = dict[str, Value]
Results = dict[int, Result]


def load() -> list[CaseFile]:
    """Its files, with what is expected of their lines."""
    return [_file(path) for path in FILES[PROJECT]]


def parse_assertion(text: str) -> tuple[str, str, int, str, Value] | None:
    """Stage, parser, number of the event, dotted name of the field, value; ``None`` for what is no field of an event."""
    match = _ASSERTION.match(text)
    if not match or match[1] == "len(":
        return None
    value: Value = json.loads(match[8], strict=False)
    return match[2], match[3], int(match[4]), ".".join([match[6], *_KEY.findall(match[7])]), value


def _file(path: str) -> CaseFile:
    file = DATA / PROJECT / path
    stages: dict[str, dict[str, Results]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for text in file.with_name("parser.assert").read_text(encoding="utf-8").splitlines():
        if found := parse_assertion(text):
            stage, parser, number, name, value = found
            stages[stage][parser][number][name] = value
    ((parser, results),) = stages["s01-parse"].items()
    lines = lines_of(file.read_bytes())
    times = _by_message(stages["s02-enrich"]["crowdsecurity/dateparse-enrich"])
    return case_file(PROJECT, path, parser, _paired(lines, _by_message(results), times))


def _by_message(results: Results) -> dict[str, Result]:
    """The results that succeeded, by the text they are of."""
    return {str(result["Parsed.message"]): result for _, result in sorted(results.items()) if result["Success"] and _has_text(result)}


def _has_text(result: Result) -> bool:
    return bool(result.get("Parsed.message"))


def _paired(lines: list[str], results: Mapping[str, Result], times: Mapping[str, Result]) -> dict[int, Fields]:
    """What is said of each line: of the result whose text it is, or ends with."""
    paired: dict[int, Fields] = {}
    for number, line in enumerate(lines, start=1):
        message = line if line in results else next((text for text in results if line.rstrip().endswith(text)), None)
        if message is not None:
            paired[number] = _with_time(results[message], times.get(message, {}))
    return paired


def _with_time(result: Result, enriched: Result) -> Result:
    """The fields, and ``time`` unless it lacks the decimals that a field has."""
    fields = {name: value for name, value in result.items() if name != "Success"}
    if "Enriched.MarshaledTime" in enriched and not fields.keys() & _EXACT_TIMES:
        fields["time"] = enriched["Enriched.MarshaledTime"]
    return fields

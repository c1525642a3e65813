import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.errors import UsageError
from rewriter.sources.spec import SourceSpec, parse_spec

PLAIN_TEXT = st.text(st.characters(exclude_characters="&", exclude_categories=["Cs", "Z", "C"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(options=st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), VALUES, max_size=4))
def test_normal_form_is_read_back_as_the_same_source(options: dict):
    spec = SourceSpec("timm", "resnet18", options)
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("written", "value"),
    [("10", 10), ("0.5", 0.5), ("true", True), ("False", False), ("None", None), ("[7,7]", [7, 7]), ("avg", "avg")],
)
def test_values_are_literals_or_strings(written: str, value: object):
    assert parse_spec(f"timm:resnet18?key={written}").options == {"key": value}


def test_normal_form_does_not_depend_on_spelling():
    texts = [" TIMM:resnet18?b=True&a=0.50 ", "timm:resnet18?a=0.5&b=true"]
    assert {str(parse_spec(text)) for text in texts} == {"timm:resnet18?a=0.5&b=true"}


def test_question_mark_belongs_to_a_folders_name():
    assert parse_spec("hf:./what?").name == "./what?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet18", "begin it with a scheme"),
        ("tim:resnet18", "did you mean 'timm'"),
        ("timm:", "a name after timm:"),
        ("timm:?a=1", "a name after timm:"),
        ("timm:resnet18?a", "found 'a'"),
        ("timm:resnet18?a=1&a=2", "found 'a=2'"),
        ("timm:resnet18?drop rate=2", "found 'drop rate=2'"),
    ],
)
def test_malformed_source_is_refused(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        parse_spec(text)

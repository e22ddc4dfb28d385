"""Forms: what `urlencode` encodes is decoded again, and any text is accepted."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding.forms import form_pairs

WRITABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("&&", []),
        ("a=1&b=2", [("a", "1"), ("b", "2")]),
        pytest.param("a=1&a=1&a=2", [("a", "1"), ("a", "1"), ("a", "2")], id="repeated names, in order"),
        pytest.param("a=", [("a", "")], id="a blank value"),
        pytest.param("a", [("a", "")], id="no value"),
        pytest.param("=1", [("", "1")], id="no name"),
        pytest.param("a=b=c", [("a", "b=c")], id="the first = separates"),
        pytest.param("a+b=c%2Bd+e", [("a b", "c+d e")], id="spaces and pluses"),
        pytest.param("%61%3D=%26", [("a=", "&")], id="escapes in names and values"),
        pytest.param("a=%C3%A4%c3%a4", [("a", "ää")], id="UTF-8"),
        pytest.param("a=ä", [("a", "ä")], id="unescaped UTF-8"),
        pytest.param("a=%C3&b=%ED%A0%80", [("a", "\ufffd"), ("b", "\ufffd\ufffd\ufffd")], id="not UTF-8"),
        pytest.param("a=%zz%4%", [("a", "%zz%4%")], id="invalid escapes"),
        pytest.param("a=1;b=2", [("a", "1;b=2")], id="a semicolon is not a separator"),
    ],
)
def test_a_form_is_decoded(text: str, pairs: list[tuple[str, str]]) -> None:
    assert form_pairs(text) == pairs


@given(st.lists(st.tuples(WRITABLE, WRITABLE), max_size=5))
def test_an_encoded_form_is_decoded_to_the_same_pairs(pairs: list[tuple[str, str]]) -> None:
    assert form_pairs(urlencode(pairs)) == pairs


@given(st.text(st.sampled_from("ab&=+%4B2zé\ud7ff\u2028 ;\x00"), max_size=120))
def test_any_text_is_decoded_as_python_decodes_it(text: str) -> None:
    assert form_pairs(text) == parse_qsl(text, keep_blank_values=True, errors="replace")

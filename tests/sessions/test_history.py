"""A session's history: the last actions, compactly, as they are saved."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions.sessions.history import History, storable

# Whatever looks like the end of one text and the begin of the next, and what JSON can't hold.
TEXTS = st.one_of(st.text(max_size=8), st.text(alphabet='",\\\n[]\udc80é', max_size=8))


@given(st.integers(0, 5), st.lists(st.lists(TEXTS, max_size=70), max_size=4))
def test_it_is_the_last_of_all_that_was_added(limit: int, batches: list[list[str]]) -> None:
    """However the texts come in, read in between or not, the history is the last *limit* of them."""
    history = History(limit=limit)
    added: list[str] = []
    for batch in batches:
        for text in batch:
            history.add(text)
            added.append(storable(text))
        kept = added[-limit:] if limit else added
        assert (history.texts(), len(history), history.total) == (kept, len(kept), len(added))
        assert json.loads(b"[%b]" % history.encoded()) == kept


@given(st.integers(0, 3), st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=3))
def test_a_restored_one_goes_on(limit: int, before: list[str], after: list[str]) -> None:
    """A history that is restored has what it was given, no more than its limit, and what is added then."""
    history = History(["of another", "time"], limit=limit)
    history.restore(before)
    for text in after:
        history.add(text)
    texts = [storable(text) for text in before + after]
    assert history.texts() == (texts[-limit:] if limit else texts)


@given(
    st.integers(2, 4), st.lists(st.sampled_from(["", ",", '"', '",', ',"', "\\", '\\",', "\n", ",\n", "a"]), max_size=9)
)
def test_what_looks_like_an_end_is_none(limit: int, texts: list[str]) -> None:
    """A text of the very characters that stand between two is dropped and kept as a whole, saved after each or not."""
    history = History(limit=limit)
    for number, text in enumerate(texts, 1):
        history.add(text)
        assert history.texts() == texts[:number][-limit:]


def test_what_has_not_changed_is_not_encoded_again() -> None:
    """The encoded history is the same object until an action is added."""
    history = History(["one", "two"])
    encoded = history.encoded()
    assert history.texts() == ["one", "two"]
    assert history.encoded() is encoded
    history.add("three")
    assert history.encoded() != encoded


def test_it_is_compact() -> None:
    """A hundred actions take little more than their text: no object stands for each."""
    history = History((f"GET https://shop.example/p/{number} 200" for number in range(100)), limit=100)
    assert len(history.encoded()) < 100 * 45
    assert History.__slots__ == ("_count", "_encoded", "_limit", "_new", "_query", "_total")
    assert history.texts()[-1] == "GET https://shop.example/p/99 200"

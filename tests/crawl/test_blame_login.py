"""The cases L1 to L9: refusals of a session that can log in, decided without a crawl."""

from __future__ import annotations

import asyncio

import pytest

from scrapy_sessions.crawl.blame import Answer, Decision, Pages, Refusal
from scrapy_sessions.crawl.budget import Budget
from tests.support.blame import Account, Clock, page

GOOD, REFUSED, GONE, NOTHING = Answer.GOOD, Answer.REFUSED, Answer.GONE, Answer.NOTHING


async def test_l1_a_refusal_of_an_older_generation() -> None:
    """A request that left under an older generation is sent again, and nothing is asked."""
    account = Account()
    account.good("a")
    account.log_in()
    assert await account.blame.refused(Refusal(page("x"), 1, "shop.test")) is Decision.AGAIN
    assert (account.actions.asked, account.actions.lost) == ([], [])


async def test_l1_a_refusal_while_a_login_runs() -> None:
    """Refused while the session logs in: sent again."""
    account = Account()
    account.actions.logging_in = True
    assert await account.refused("x") is Decision.AGAIN


async def test_l2_another_host() -> None:
    """A refusal from a host outside the site is handed on."""
    account = Account()
    account.actions.foreign = {"cdn.other"}
    assert await account.refused("x", host="cdn.other") is Decision.HAND_ON
    assert account.actions.asked == []


async def test_l3_a_page_that_was_found_closed() -> None:
    """A page that was proved closed in this generation is closed, without another question."""
    account = Account()
    account.good("a")
    assert await account.refused("x") is Decision.CLOSED
    asked = list(account.actions.asked)
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.asked == asked


async def test_l3_holds_for_one_generation() -> None:
    """After a login a page that was closed is looked at anew."""
    account = Account()
    account.good("a")
    await account.refused("x")
    account.log_in()
    account.good("a")
    asked = len(account.actions.asked)
    assert await account.refused("x") is Decision.CLOSED
    assert len(account.actions.asked) > asked


async def test_l4_a_restored_session() -> None:
    """Restored, and not yet good in this run: it logs in at its first refusal, without a question."""
    account = Account(restored=True)
    assert await account.refused("x") is Decision.AGAIN
    assert (account.actions.lost, account.actions.asked) == (["x"], [])


async def test_l4_a_restored_session_that_was_good() -> None:
    """A restored session that had a good response in this run gets an inquiry as any other."""
    account = Account(restored=True)
    account.good("a")
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.asked == ["a (anonymous)", "a"]


async def test_l4_sets_no_window() -> None:
    """The first login of a restored session bounds no number of requests."""
    account = Account(restored=True)
    await account.lose("x")
    assert account.actions.window == 0


async def test_l5a_a_witness_that_is_good() -> None:
    """The session gets another page after the refusal: the page is closed."""
    account = Account()
    account.good("a")
    assert await account.refused("x") is Decision.CLOSED
    assert await account.refused("y") is Decision.CLOSED
    assert account.actions.asked == ["a (anonymous)", "a", "a"]
    assert account.actions.lost == []


async def test_l5b_a_witness_that_is_refused() -> None:
    """The session is refused what it got before: it logs in, and the budget is not touched."""
    account = Account(login_attempts=1)
    for _ in range(4):
        account.good("a")
        account.actions.answers = {"a": REFUSED}
        await account.lose("x")
    assert account.actions.lost == ["x"] * 4
    assert account.actions.warnings == []


async def test_l5_a_probe_url() -> None:
    """A probe_url that was good in this generation is asked first, and no page is asked for without the session."""
    account = Account(probe="account")
    account.good("a")
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.asked == ["a (anonymous)", "a"]
    account.log_in()
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.asked[2:] == ["account"]
    assert await account.refused("y") is Decision.CLOSED
    assert account.actions.asked[3:] == ["account"]


async def test_l5_only_refusals_before_the_question_share_its_answer() -> None:
    """A refusal that arrives after the question has left waits for the next one."""
    account = Account()
    account.good("a")
    later: list[asyncio.Future[Decision]] = []

    def asking(name: str) -> None:
        if name == "a" and not later and account.actions.asked[-1] == "a":
            later.append(asyncio.ensure_future(account.refused("y")))

    account.actions.asking = asking
    assert await account.refused("x") is Decision.CLOSED
    assert await later[0] is Decision.CLOSED
    assert account.actions.asked == ["a (anonymous)", "a", "a"]


async def test_l5_one_inquiry_for_many() -> None:
    """Refusals that wait together share one inquiry, one login and its cost."""
    account = Account()
    account.good("a")
    account.actions.answers = {"a": REFUSED}
    decisions = await asyncio.gather(*(account.refused(name) for name in "uvwxyz"))
    assert set(decisions) == {Decision.AGAIN}
    assert len(account.actions.lost) == 1
    assert account.actions.asked == ["a (anonymous)", "a"]


async def test_l6_questions_that_say_nothing_come_to_an_end() -> None:
    """Witnesses that say nothing to the session: three pages are asked for, then the inquiry decides without them."""
    account = Account()
    account.good(*"abcdefgh")
    account.actions.answers = dict.fromkeys("abcdefgh", NOTHING)
    await account.lose("x")
    assert len(account.actions.asked) <= 3 + 3 + 2 + 1


@pytest.mark.parametrize(("answer", "kept"), [(GONE, False), (NOTHING, True)])
async def test_l5_a_witness_that_says_nothing(answer: Answer, kept: bool) -> None:
    """The next witness decides. One that answers 404 is dropped, one that says nothing is asked again."""
    account = Account()
    account.good("a")
    await account.refused("w")
    account.good("b")
    account.actions.answers = {"a": answer}
    account.actions.asked.clear()
    assert [await account.refused(name) for name in "xy"] == [Decision.CLOSED] * 2
    assert account.actions.asked == ["a", "b (anonymous)", "b", "b"]
    account.actions.answers = {"b": GONE}
    account.actions.asked.clear()
    await account.refused("z")
    assert account.actions.asked[:3] == (["b", "a"] if kept else ["b"])


async def test_l6_up_to_three_pages_are_asked_for_without_the_session() -> None:
    """The latest good pages are asked for, until one is refused: it is the witness."""
    account = Account()
    account.actions.anonymous = {"d": GOOD, "c": GOOD}
    account.good("a", "b", "c", "d")
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.asked == ["d (anonymous)", "c (anonymous)", "b (anonymous)", "b"]


async def test_l6_public_pages_are_not_asked_for_again() -> None:
    """A page that anybody gets proves nothing, and is asked for once."""
    account = Account()
    account.actions.anonymous = dict.fromkeys("abcd", GOOD)
    account.good("a", "b")
    await account.lose("x")
    account.good("a", "b", "c")
    await account.lose("y")
    assert account.actions.asked == ["b (anonymous)", "a (anonymous)", "c (anonymous)"]


async def test_l6_what_is_no_candidate() -> None:
    """POSTs, and pages that would end the session, are not asked for."""
    account = Account()
    account.good("a", get=False)
    account.good("logout", "account/sign-out", "delete?id=3")
    await account.refused("x")
    assert account.actions.asked == []


async def test_l6_few_questions_where_all_is_public() -> None:
    """After twelve public answers one page per inquiry is asked for; after 100, none while the budget is empty."""
    account = Account(login_attempts=1)
    account.actions.anonymous = {str(number): GOOD for number in range(400)}
    counts = []
    for inquiry in range(110):
        account.good(*(str(4 * inquiry + n) for n in range(4)))
        before = len(account.actions.asked)
        if await account.refused(f"x{inquiry}") is Decision.AGAIN:
            account.log_in()
        counts.append(len(account.actions.asked) - before)
    assert counts[:5] == [3, 3, 3, 3, 1]
    assert counts[-10:] == [0] * 10


async def test_l7a_an_older_witness_that_is_good() -> None:
    """A witness of an earlier generation that is good proves the page closed."""
    account = Account()
    account.good("a")
    await account.refused("x")
    account.log_in()
    assert await account.refused("y") is Decision.CLOSED
    assert account.actions.lost == []


async def test_l7a_drops_those_that_were_refused() -> None:
    """Of two older witnesses the latest is refused and the other good: the latest is no witness any more."""
    account = Account()
    for name in "ab":
        account.good(name)
        await account.refused("x" + name)
        account.log_in()
    account.actions.answers = {"b": REFUSED}
    assert await account.refused("y") is Decision.CLOSED
    account.log_in()
    account.actions.asked.clear()
    await account.refused("z")
    assert account.actions.asked == ["a"]


async def test_l7b_older_witnesses_that_are_refused() -> None:
    """They are asked again after LOGIN_BACKOFF; then a login is taken from the budget; then they are dropped."""
    account = Account(login_backoff=7)
    account.good("a")
    await account.refused("x")
    account.actions.answers = {"a": REFUSED}
    account.log_in()
    account.actions.asked.clear()
    await account.lose("y")
    assert account.actions.asked == ["a", "a"]
    assert account.actions.slept == [7]
    await account.refused("y", again=True)
    assert account.actions.asked == ["a"] * 4
    await account.refused("z")
    assert account.actions.asked == ["a"] * 4


async def test_l7b_hears_again_after_the_backoff() -> None:
    """What was good during LOGIN_BACKOFF is a candidate before anybody logs in."""
    account = Account()
    account.good("a")
    await account.refused("x")
    account.actions.answers = {"a": REFUSED}
    account.log_in()
    waiting = asyncio.ensure_future(account.refused("y"))
    while not account.actions.slept:
        await asyncio.sleep(0)
    account.good("b")
    assert await waiting is Decision.CLOSED
    assert account.actions.lost == []


async def test_l8a_no_witness_but_another_good_page() -> None:
    """Where every page is public, a login from the budget decides; the page is sent again."""
    account = Account()
    account.actions.anonymous = {"a": GOOD}
    account.good("a")
    await account.lose("x")
    assert account.actions.lost == ["x"]


async def test_l8a_a_login_that_opens_its_page_costs_nothing() -> None:
    """The page is good after the login: the budget is as before, however often that happens."""
    account = Account(login_attempts=1)
    account.actions.anonymous = {"a": GOOD, "x": GOOD}
    for _ in range(5):
        account.good("a")
        await account.lose("x")
        account.good("x")
    assert account.actions.warnings == []


async def spend_budget(account: Account) -> None:
    """Log in as often as the budget allows, where pages are POSTs only, and none is a witness."""
    while account.blame._budget.left:
        account.good("a", get=False)
        await account.lose("u")
    account.good("a", get=False)


async def test_l8b_refusals_in_a_row() -> None:
    """With an empty budget, improbably many refusals one after the other wait until the budget grows."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    account.good(*"bcdefgh", get=False)
    assert [await account.refused(name) for name in "xyz"] == [Decision.CLOSED] * 2 + [Decision.AGAIN]
    assert (account.actions.lost, account.actions.slept) == (["u", "z"], [60])


async def test_l8b_a_good_page_meanwhile() -> None:
    """If another page is good while they wait, they are closed, and nobody logs in."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    account.good(*"bcdefgh", get=False)
    account.actions.sleeping = lambda: account.good("i", get=False)
    assert [await account.refused(name) for name in "xyz"] == [Decision.CLOSED] * 3
    assert (account.actions.lost, account.actions.slept) == (["u"], [60])


async def test_l8b_waits_for_five_minutes_at_the_most() -> None:
    """The pauses of the budget double. Refusals wait for its next login only if that is at most five minutes away."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    for number, seconds in enumerate((60, 120, 240)):
        account.good(*"bcdefgh", get=False)
        assert [await account.refused(f"{name}{number}") for name in "xyz"][-1] is Decision.AGAIN
        assert account.actions.slept[-1] == seconds
        account.log_in()
    account.good(*"bcdefgh", get=False)
    began = account.clock.now
    assert {await account.refused(str(number)) for number in range(20)} == {Decision.CLOSED}
    assert account.clock.now == began
    account.clock.now += 480 - 300
    assert await account.refused("z") is Decision.AGAIN
    assert account.actions.slept[-1] == 300


async def test_refusals_without_end_need_no_memory() -> None:
    """However many pages are refused, a thousand are remembered."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    account.actions.anonymous = {"a": GOOD}
    account.good("a")
    assert {await account.refused(str(number)) for number in range(1200)} == {Decision.CLOSED}
    assert len(account.blame._refused_in_a_row) == 1000
    account.log_in()
    for number in range(1200):
        await account.refused(str(number))
    assert len(account.blame._barren) == len(account.blame._resent) == 1000


def test_the_latest_pages_are_remembered() -> None:
    """Of more than 1,000 the last ones, of a larger bound as many as it says."""
    names = [str(number) for number in range(1500)]
    pages, larger = Pages(), Pages(1200)
    for name in names:
        pages.add(name)
    larger.add(*names)
    assert (list(pages), list(larger)) == (names[500:], names[300:])
    pages.discard("500", "0")
    assert list(pages) == names[501:]


async def test_l8b_where_many_pages_are_closed() -> None:
    """Where every second page is closed, as many in a row are needed as are improbable there."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    for number in range(20):
        account.good("a", get=False)
        await account.refused(f"closed{number}")
    account.good("a", get=False)
    decisions = [await account.refused(f"x{number}") for number in range(7)]
    assert decisions == [Decision.CLOSED] * 6 + [Decision.AGAIN]


@pytest.mark.parametrize("known", ["again", "elsewhere"])
async def test_l8b_what_was_refused_before(known: str) -> None:
    """Pages that were refused in an earlier generation, or in another session, say nothing about the login."""
    account = Account(login_attempts=1)
    await spend_budget(account)
    account.good(*"bcdefgh", get=False)
    for name in "uvwxyz":
        refusal = Refusal(page(name), account.actions.number, "shop.test")._replace(**{known: True})
        assert await account.blame.refused(refusal) is Decision.CLOSED


async def test_l8b_where_visitors_get_the_pages() -> None:
    """Where all good pages are public, no number of refusals is a lost login."""
    account = Account(login_attempts=1)
    account.actions.anonymous = dict.fromkeys("abcdefgh", GOOD)
    account.good("a")
    await account.lose("u")
    account.good(*"abcdefgh")
    assert {await account.refused(str(number)) for number in range(9)} == {Decision.CLOSED}


async def test_l8c_a_page_that_was_refused_before_too() -> None:
    """Refused in an earlier generation as well: closed for now, and no login."""
    account = Account()
    account.actions.anonymous = {"a": GOOD}
    account.good("a")
    assert await account.refused("x", again=True) is Decision.CLOSED
    assert account.actions.lost == []


async def test_l8c_an_empty_budget() -> None:
    """After LOGIN_ATTEMPTS logins pages are closed for now; one warning names probe_url. A minute later: one login."""
    account = Account(login_attempts=2)
    account.actions.anonymous = {"a": GOOD}
    for name in "uv":
        account.good("a")
        await account.lose(name)
    account.good("a")
    assert [await account.refused(name) for name in "wx"] == [Decision.CLOSED] * 2
    assert len(account.actions.warnings) == 1
    assert "probe_url" in account.actions.warnings[0]
    account.clock.now = 60
    assert await account.refused("y") is Decision.AGAIN


async def test_l8d_nothing_good_in_this_generation() -> None:
    """Sent again once after LOGIN_BACKOFF, and then closed for now: no login for a single page."""
    account = Account(login_backoff=2)
    assert await account.refused("x") is Decision.AGAIN
    assert account.actions.slept == [2]
    assert await account.refused("x") is Decision.CLOSED
    assert account.actions.lost == []


async def test_l8d_many_pages_and_nothing_good() -> None:
    """From LOGIN_ATTEMPTS different pages on, the login itself is in doubt, and is done again from the budget."""
    account = Account(login_attempts=3)
    for name in "xyz":
        await account.refused(name)
    assert account.actions.doubted
    assert [await account.refused(name) for name in "xyz"] == [Decision.AGAIN] * 3
    assert len(account.actions.lost) == 1


async def test_l9_ten_closed_pages_in_a_row() -> None:
    """After ten closed pages without a good one the session logs in from the budget, and they are sent again."""
    account = Account()
    account.good("a")
    decisions = [await account.refused(str(number)) for number in range(10)]
    assert decisions == [Decision.CLOSED] * 9 + [Decision.AGAIN]
    assert account.actions.lost == ["9"]


async def test_l9_good_pages_between() -> None:
    """Refusals that wait for the same inquiry are no row, if others were good while they came."""
    account = Account()
    account.good("a")
    waiting = []
    for number in range(12):
        waiting.append(asyncio.ensure_future(account.refused(str(number))))
        await asyncio.sleep(0)
        account.blame.good(page("b").partition(" ")[2], get=False)
    assert await asyncio.gather(*waiting) == [Decision.CLOSED] * 12
    assert account.actions.lost == []


async def test_l9_witnesses_that_prove_nothing() -> None:
    """If one of the ten opens after that login, the witness is dropped."""
    account = Account()
    account.good("a")
    for number in range(10):
        await account.refused(str(number))
    account.log_in()
    account.good("9")
    account.actions.asked.clear()
    account.actions.anonymous = {"9": REFUSED}
    await account.refused("x")
    assert account.actions.asked == ["9 (anonymous)", "9"]


async def test_the_window_after_a_lost_login() -> None:
    """No more requests are in flight than the last generation settled, until this one has settled more."""
    account = Account()
    account.good("a", "b")
    await account.refused("x")  # closed: settled, too
    account.actions.answers = {"a": REFUSED, "b": REFUSED}
    await account.lose("y")
    assert account.actions.window == 3
    account.good("c", "d", "e")
    assert account.actions.window == 3
    account.good("f")
    assert account.actions.window == 0


async def test_a_session_is_in_doubt_during_its_inquiry() -> None:
    """While the site is asked, other accounts are preferred."""
    account = Account()
    account.good("a")
    seen: list[bool] = []
    account.actions.asking = lambda name: seen.append(account.actions.doubted)
    await account.refused("x")
    assert seen == [True, True]
    assert not account.actions.doubted


@pytest.mark.parametrize("end", ["login", "generation"])
async def test_a_generation_that_ends_during_a_question(end: str) -> None:
    """Its answer is not used: what waits is sent again."""
    account = Account()
    account.good("a")

    def asking(name: str) -> None:
        if end == "login":
            account.actions.logging_in = True
        else:
            account.actions.number += 1

    account.actions.asking = asking
    assert await account.refused("x") is Decision.AGAIN
    assert account.actions.lost == []


def test_the_budget_grows_by_one_after_one_minute_two_and_four() -> None:
    """Empty, it allows one login after a minute, the next after two more, then four."""
    clock = Clock()
    budget = Budget(2, clock)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    taken = []
    for second in range(0, 1000, 10):
        clock.now = second
        if budget.take():
            taken.append(second)
    assert taken == [60, 180, 420, 900]

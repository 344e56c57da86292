from likewise.cli.progress import Lines, materialize_progress, spinner
from likewise.jobs.materialize import Event

EVENTS = [Event("cards", 0, 2, 50_000), Event("cards", 1, 2, 90_000), Event("users", 0, 1, 7)]


def test_bars_follow_the_events_and_vanish(capsys):
    """On a terminal there is a bar for each view; what they show goes to standard error only."""
    with materialize_progress(bars=True) as report:
        for event in EVENTS:
            report(event)
    said = capsys.readouterr()
    assert said.out == ""
    assert "cards" in said.err or said.err.strip() == ""  # what is no terminal gets nothing of transient bars


def test_elsewhere_there_is_a_line_now_and_then():
    """Without a terminal a line is printed at most every ten seconds."""
    said = []
    lines = Lines(echo=said.append, clock=iter([0.0, 3.0, 12.0, 13.0]).__next__)
    for event in EVENTS:
        lines(event)
    assert said == ["cards: chunk 2 of 2, 90,000 keys so far"]
    with materialize_progress(bars=False) as report:
        assert isinstance(report, Lines)


def test_a_spinner_only_turns_on_a_terminal(capsys):
    """Where standard error is no terminal, a spinner shows nothing."""
    with spinner("at work"):
        pass
    assert capsys.readouterr().err == ""
    with spinner("at work", shown=True):
        pass

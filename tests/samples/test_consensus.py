"""How votes become an outcome, whatever the votes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import consensus
from samples.consensus import Vote
from samples.consensus.weighted import weight_of

values = st.sampled_from(["Positif", "Négatif", "Neutre", "正面"])
weights = st.floats(min_value=0.01, max_value=1.0)
ballots = st.lists(st.builds(Vote, values, weights), min_size=1, max_size=12)
thresholds = st.floats(min_value=0.0, max_value=1.0)
rules = st.sampled_from(consensus.MENU)


def votes(*texts):
    return [Vote(text) for text in texts]


@given(ballots, thresholds, rules)
def test_shares_sum_to_one_and_name_everything_voted_for(ballot, threshold, rule):
    outcome = rule.decide(ballot, threshold=threshold)
    assert sum(outcome.shares.values()) == pytest.approx(1.0)
    assert set(outcome.shares) == {vote.value for vote in ballot}
    assert outcome.share == max(outcome.shares.values())


@given(st.data(), thresholds, rules)
def test_the_order_of_the_votes_never_changes_the_outcome(data, threshold, rule):
    ballot = data.draw(ballots)
    shuffled = data.draw(st.permutations(ballot))
    assert rule.decide(shuffled, threshold=threshold) == rule.decide(ballot, threshold=threshold)


@given(ballots, thresholds, rules, weights)
def test_one_more_vote_for_the_winner_never_unseats_it(ballot, threshold, rule, weight):
    winner = rule.decide(ballot, threshold=threshold).winner
    if winner is not None:
        assert rule.decide([*ballot, Vote(winner, weight)], threshold=threshold).winner == winner


@given(ballots, thresholds, rules)
def test_a_winner_holds_the_threshold_and_more_than_anyone_else(ballot, threshold, rule):
    outcome = rule.decide(ballot, threshold=threshold)
    if outcome.winner is not None:
        others = [share for value, share in outcome.shares.items() if value != outcome.winner]
        assert outcome.shares[outcome.winner] >= threshold - 1e-6
        assert all(outcome.shares[outcome.winner] > share for share in others)


@given(ballots, rules)
def test_without_a_threshold_only_a_tie_leaves_no_winner(ballot, rule):
    outcome = rule.decide(ballot, threshold=0.0)
    best = [share for share in outcome.shares.values() if outcome.share - share < 1e-9]
    assert (outcome.winner is None) == (len(best) > 1)


@given(st.permutations(["Positif", "Négatif", "Neutre"]), st.integers(min_value=1, max_value=4))
def test_a_tie_has_no_winner(names, each):
    assert consensus.get("majority").decide(votes(*names * each), threshold=0.0).winner is None


def test_two_of_three_win_with_two_thirds():
    outcome = consensus.get("majority").decide(votes("Positif", "Négatif", "Positif"), threshold=0.5)
    assert outcome.winner == "Positif"
    assert outcome.shares == {"Positif": pytest.approx(2 / 3), "Négatif": pytest.approx(1 / 3)}


def test_two_thirds_miss_a_threshold_of_three_quarters():
    outcome = consensus.get("majority").decide(votes("Positif", "Négatif", "Positif"), threshold=0.75)
    assert outcome.winner is None
    assert outcome.share == pytest.approx(2 / 3)


def test_two_thirds_reach_a_threshold_that_was_written_as_two_thirds():
    assert consensus.get("majority").decide(votes("a", "a", "b"), threshold=0.6666666667).winner == "a"


def test_no_votes_have_no_outcome():
    assert consensus.get("majority").decide([], threshold=0.0).winner is None


def test_majority_ignores_weights_and_weighted_obeys_them():
    ballot = [Vote("a", 0.9), Vote("b", 0.2), Vote("b", 0.2)]
    assert consensus.get("majority").decide(ballot, threshold=0.5).winner == "b"
    assert consensus.get("weighted").decide(ballot, threshold=0.5).winner == "a"


def test_a_newcomer_weighs_half_and_nobody_everything_or_nothing():
    assert weight_of(0, 0) == 0.5
    assert 0 < weight_of(0, 1000) < 0.01
    assert 0.99 < weight_of(1000, 1000) < 1


def test_the_menu_offers_its_rules_by_name():
    assert [name for name, _ in consensus.choices()] == ["majority", "weighted"]

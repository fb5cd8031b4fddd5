"""What each task type accepts, refuses, writes and asks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples import consensus, task_types
from samples.task_types import InvalidAnswer, UnknownTaskType

LABELS = ["Positif", "Négatif", "Neutre"]
RESPONSES = ["Oui, volontiers.", "Non."]
MAJORITY = consensus.get("majority")
SINGLE = ["SENTIMENT_ANALYSIS", "BINARY_CHOICE", "TEXT_CLASSIFICATION", "IMAGE_CLASSIFICATION"]
ANSWERS = {
    **{name: ({"label": "Négatif"}, LABELS, "Négatif") for name in SINGLE},
    "MULTI_LABEL": ({"labels": ["Positif", "Neutre"]}, LABELS, "Positif, Neutre"),
    "TEXT_GENERATION": ({"text": "  Bonjour,\nmonde "}, [], "  Bonjour,\nmonde "),
    "PREFERENCE": ({"chosen": "Non.", "rejected": "Oui, volontiers."}, RESPONSES, "Non."),
}


def test_every_type_on_the_menu_is_tried_here():
    assert set(ANSWERS) == set(task_types.names())


@pytest.mark.parametrize("name", task_types.names())
def test_a_canonical_answer_stays_as_it_is(name):
    answer, choices, _ = ANSWERS[name]
    assert task_types.get(name).clean(answer, choices=choices) == answer


@pytest.mark.parametrize("name", task_types.names())
def test_the_text_of_an_answer_leads_back_to_it(name):
    answer, choices, text = ANSWERS[name]
    kind = task_types.get(name)
    assert kind.label_name(answer) == text
    assert kind.from_text(text, choices=choices) == answer


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("wrong", [{"label": "Furieux"}, {}, {"label": None}, {"label": ["Positif"]}, None, 3, []])
def test_a_wrong_choice_is_refused_naming_what_is_allowed(name, wrong):
    with pytest.raises(InvalidAnswer) as refused:
        task_types.get(name).clean(wrong, choices=LABELS)
    assert "Positif, Négatif, Neutre" in refused.value.message
    assert refused.value.details["allowed"] == LABELS


def test_the_message_names_the_wrong_label():
    with pytest.raises(InvalidAnswer, match="'Furieux' is not one of the labels"):
        task_types.get("SENTIMENT_ANALYSIS").clean({"label": "Furieux"}, choices=LABELS)


def test_a_long_list_of_choices_is_cut_in_the_message_but_not_in_the_details():
    many = [f"intent {number}" for number in range(77)]
    with pytest.raises(InvalidAnswer, match=r"intent 19, … \(77 in all\)") as refused:
        task_types.get("TEXT_CLASSIFICATION").clean("?", choices=many)
    assert len(refused.value.details["allowed"]) == 77


@pytest.mark.parametrize(
    "wrong", [{"labels": []}, {"labels": ["Furieux"]}, {"labels": "Positif"}, {}, None, {"labels": [1]}]
)
def test_several_labels_must_be_a_list_of_known_ones(wrong):
    with pytest.raises(InvalidAnswer, match="Positif, Négatif, Neutre"):
        task_types.get("MULTI_LABEL").clean(wrong, choices=LABELS)


def test_several_labels_stand_once_each_in_the_project_s_order():
    answer = task_types.get("MULTI_LABEL").clean(["Neutre", "Positif", "Neutre"], choices=LABELS)
    assert answer == {"labels": ["Positif", "Neutre"]}


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.data())
def test_a_list_of_labels_as_json_leads_back_whatever_their_names(data):
    choices = data.draw(st.lists(names, min_size=1, max_size=6, unique=True))
    chosen = data.draw(st.lists(st.sampled_from(choices), min_size=1, unique=True))
    kind = task_types.get("MULTI_LABEL")
    answer = kind.clean(chosen, choices=choices)
    text = json.dumps(kind.label_names(answer), ensure_ascii=False)
    if text not in choices:
        assert kind.from_text(text, choices=choices) == answer


@given(st.data())
def test_joined_labels_lead_back_or_are_refused_but_never_change(data):
    choices = data.draw(st.lists(names, min_size=1, max_size=6, unique=True))
    chosen = data.draw(st.lists(st.sampled_from(choices), min_size=1, unique=True))
    kind = task_types.get("MULTI_LABEL")
    answer = kind.clean(chosen, choices=choices)
    try:
        assert kind.from_text(kind.label_name(answer), choices=choices) == answer
    except InvalidAnswer:
        assert any("," in name or name.startswith("[") for name in choices)


def test_labels_with_commas_are_asked_for_as_a_json_list():
    kind, choices = task_types.get("MULTI_LABEL"), ["salt, pepper", "sugar"]
    assert kind.from_text("salt, pepper", choices=choices) == {"labels": ["salt, pepper"]}
    assert kind.from_text('["salt, pepper", "sugar"]', choices=choices) == {"labels": choices}
    with pytest.raises(InvalidAnswer, match="JSON list"):
        kind.from_text("salt, pepper, sugar", choices=choices)


def test_a_broken_json_list_is_told_as_such():
    with pytest.raises(InvalidAnswer, match="not a JSON list"):
        task_types.get("MULTI_LABEL").from_text('["Positif"', choices=LABELS)


@pytest.mark.parametrize("wrong", [{"text": ""}, {"text": " \n"}, {}, None, {"text": 3}])
def test_a_text_may_not_be_empty(wrong):
    with pytest.raises(InvalidAnswer, match="may not be empty"):
        task_types.get("TEXT_GENERATION").clean(wrong)


def test_responses_that_differ_in_white_space_are_the_same_vote():
    kind = task_types.get("TEXT_GENERATION")
    assert kind.vote({"text": "Bonjour,  monde\n"}) == kind.vote({"text": "Bonjour, monde"})


@pytest.mark.parametrize("wrong", [{"chosen": "Peut-être."}, {}, {"chosen": "Non.", "rejected": "Non."}])
def test_a_preference_is_one_of_the_two_responses_over_the_other(wrong):
    with pytest.raises(InvalidAnswer):
        task_types.get("PREFERENCE").clean(wrong, choices=RESPONSES)


def test_a_preference_keeps_what_was_rejected():
    answer = task_types.get("PREFERENCE").clean({"chosen": "Non."}, choices=RESPONSES)
    assert answer == {"chosen": "Non.", "rejected": "Oui, volontiers."}


@pytest.mark.parametrize("options", [None, ["Oui"], ["Oui", "Oui"], ["a", "b", "c"]])
def test_a_preference_cannot_be_asked_without_two_different_responses(options):
    with pytest.raises(InvalidAnswer, match="two different responses"):
        task_types.get("PREFERENCE").check_content("Bonjour ?", options=options)


@pytest.mark.parametrize("options", [["Oui", ""], ["", "Oui"], ["Oui", " \n\u3000"]])
def test_a_preference_cannot_be_asked_with_a_response_that_says_nothing(options):
    with pytest.raises(InvalidAnswer, match="a response of a preference is blank"):
        task_types.get("PREFERENCE").check_content("Bonjour ?", options=options)


def test_a_binary_choice_has_two_options():
    with pytest.raises(InvalidAnswer, match="2 options, not 3"):
        task_types.get("BINARY_CHOICE").check_content("Vrai ?", options=["a", "b", "c"])


@pytest.mark.parametrize("name", task_types.names())
def test_an_empty_item_cannot_be_asked(name):
    with pytest.raises(InvalidAnswer, match="empty"):
        task_types.get(name).check_content(" \n", options=["a", "b"])


def test_an_unknown_type_is_refused_naming_the_known_ones():
    with pytest.raises(UnknownTaskType, match="MULTI_LABEL") as refused:
        task_types.get("AUDIO")
    assert refused.value.code == "invalid_type"


def test_the_french_sentiment_prompts_are_dloopiq_s_to_the_letter():
    prompts = task_types.get("SENTIMENT_ANALYSIS").prompts_for("fr")
    content = "Ce produit est fantastique !"
    assert prompts.chat.format(content=content) == "Analyse le sentiment : Ce produit est fantastique !"
    assert prompts.instruction == "Analyse le sentiment du texte suivant."


def test_the_french_sentiment_labels_have_dloopiq_s_indices():
    assert task_types.get("SENTIMENT_ANALYSIS").default_labels["fr"] == ("Positif", "Négatif")


@pytest.mark.parametrize("name", task_types.names())
@pytest.mark.parametrize("locale", ["fr", "en", "de", "zh", "es", "ar"])
def test_every_type_asks_in_every_locale_and_shows_the_item_once(name, locale):
    prompts = task_types.get(name).prompts[locale]
    assert prompts.chat.count("{content}") == 1
    assert prompts.instruction and "{" not in prompts.instruction


def test_a_regional_locale_is_asked_in_its_language_and_an_unknown_one_in_english():
    kind = task_types.get("SENTIMENT_ANALYSIS")
    assert kind.prompts_for("fr-CA") == kind.prompts["fr"]
    assert kind.prompts_for("fi") == kind.prompts["en"]


def settle(name, *answers, threshold=0.5, choices=LABELS):
    return task_types.get(name).settle(
        [(answer, 1.0) for answer in answers], rule=MAJORITY, threshold=threshold, choices=choices
    )


def test_one_choice_settles_on_the_answer_most_gave():
    settlement = settle("SENTIMENT_ANALYSIS", {"label": "Positif"}, {"label": "Neutre"}, {"label": "Positif"})
    assert settlement.answer == {"label": "Positif"}
    assert settlement.confidence == pytest.approx(2 / 3)


def test_several_labels_settle_one_by_one():
    settlement = settle(
        "MULTI_LABEL", {"labels": ["Neutre"]}, {"labels": ["Positif", "Neutre"]}, {"labels": ["Neutre"]}
    )
    assert settlement.answer == {"labels": ["Neutre"]}
    assert settlement.shares == {"Positif": pytest.approx(1 / 3), "Neutre": 1.0}
    assert settlement.confidence == pytest.approx(2 / 3)


def test_several_labels_settle_in_the_project_s_order():
    both = {"labels": ["Positif", "Neutre"]}
    assert settle("MULTI_LABEL", both, both).answer == both


def test_a_label_that_is_tied_leaves_several_labels_without_a_verdict():
    settlement = settle("MULTI_LABEL", {"labels": ["Positif"]}, {"labels": ["Positif", "Neutre"]})
    assert settlement.answer is None
    assert settlement.confidence == 0.5


def test_labels_that_nobody_shares_are_no_verdict():
    answers = [{"labels": [label]} for label in LABELS]
    assert settle("MULTI_LABEL", *answers).answer is None


def test_a_label_under_the_threshold_is_left_out():
    answers = [{"labels": ["Positif", "Neutre"]}, {"labels": ["Positif", "Neutre"]}, {"labels": ["Positif"]}]
    assert settle("MULTI_LABEL", *answers, threshold=0.8).answer == {"labels": ["Positif"]}
    assert settle("MULTI_LABEL", *answers, threshold=0.6).answer == {"labels": ["Positif", "Neutre"]}


@given(st.data())
def test_the_order_of_the_answers_never_changes_the_settlement_of_several_labels(data):
    some = st.lists(st.sampled_from(LABELS), min_size=1, unique=True)
    kind = task_types.get("MULTI_LABEL")
    answers = [kind.clean(labels, choices=LABELS) for labels in data.draw(st.lists(some, min_size=1, max_size=6))]
    shuffled = data.draw(st.permutations(answers))
    assert settle("MULTI_LABEL", *shuffled) == settle("MULTI_LABEL", *answers)


def test_the_first_way_of_writing_the_winning_response_is_kept():
    answers = [{"text": "Bonjour"}, {"text": "Salut  toi"}, {"text": "Salut toi"}]
    assert settle("TEXT_GENERATION", *answers, choices=[]).answer == {"text": "Salut  toi"}

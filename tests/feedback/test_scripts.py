"""Rules that count characters, words and final punctuation, in languages other than English."""

import re
import sys
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from almost_kedro.evaluation.floors import surface_features
from almost_kedro.feedback.decontamination import find_overlaps
from almost_kedro.feedback.overlap import OverlapIndex, rouge_l, tokenize_words
from almost_kedro.feedback.prompts import check_overlap, check_prompt_length
from almost_kedro.feedback.responses import check_answer, extract_answer, find_ends
from almost_kedro.feedback.scripts import (
    QUESTION_MARKS,
    ends_openly,
    ends_sentence,
    measure_length,
    split_words,
)

# Language: a question, a statement, each with its own marks.
SENTENCES = {
    "Chinese": ("为什么天空是蓝色的？", "请帮我写一段祝酒词。"),
    "Chinese, in quotes": ("他问：“你好吗？”", "他说：「我很好。」"),
    "Japanese": ("空はなぜ青いのですか？", "味噌汁の作り方を教えてください。"),
    "Japanese, half-width": ("ｿﾗﾊﾅｾﾞｱｵｲﾉ？", "ﾐｿｼﾙｶﾞｽｷﾃﾞｽ｡"),
    "Korean": ("하늘은 왜 파란가요?", "된장국 만드는 법을 알려 주세요."),
    "Arabic": ("لماذا السماء زرقاء؟", "اكتب لي رسالة قصيرة."),
    "Urdu": ("آسمان نیلا کیوں ہے؟", "مجھے ایک خط لکھ دیں۔"),
    "Hindi": ("आसमान नीला क्यों है?", "मुझे एक छोटा पत्र लिखो।"),
    "Greek": ("Γιατί είναι μπλε ο ουρανός;", "Γράψε μου ένα γράμμα."),
    "Greek, its own mark": ("Γιατί είναι μπλε ο ουρανός\u037e", "Γράψε μου ένα γράμμα!"),
    "Spanish": ("¿Por qué es azul el cielo?", "¡Escríbeme una carta!"),
    "Armenian": ("Ինչո՞ւ է երկինքը կապույտ։", "Գրիր ինձ նամակ։"),
    "Armenian, typed": ("Ինչո՞ւ է երկինքը կապույտ:", "Գրիր ինձ նամակ:"),
    "Amharic": ("ሰማዩ ለምን ሰማያዊ ነው፧", "አጭር ደብዳቤ ጻፍልኝ።"),
    "Khmer": ("ហេតុអ្វីមេឃពណ៌ខៀវ?", "សូមសរសេរសំបុត្រមួយ។"),
    "Burmese": ("ကောင်းကင်ဘာကြောင့်ပြာလဲ?", "စာတစ်စောင်ရေးပါ။"),
    "Tibetan": ("གནམ་སྔོན་པོ་ཅིའི་ཕྱིར་ཡིན?", "ཡི་གེ་ཞིག་འབྲི་རོགས།"),
    "English": ("Why is the sky blue?", "Write me a short letter."),
}
LANGUAGES = list(SENTENCES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_with_its_own_marks_is_a_prompt_however_short(language: str) -> None:
    for prompt in SENTENCES[language]:
        assert check_prompt_length(prompt, "stop", "corrected").kept, prompt


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_is_told_from_a_statement(language: str) -> None:
    question, statement = SENTENCES[language]
    assert ends_openly(question)
    assert not ends_openly(statement)
    answer = statement * 20
    assert check_answer(answer, "stop", "corrected").kept
    assert check_answer(answer + question, "stop", "corrected").rule == "rule_12_open_end"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_that_was_cut_off_keeps_its_whole_sentences(language: str) -> None:
    space = "" if regex.search(r"[\p{Han}\p{Kana}]", SENTENCES[language][0]) else " "
    whole = space.join(SENTENCES[language] * 3)
    beginning = SENTENCES[language][1][:5]
    found = extract_answer(whole + space + beginning, "length", "corrected")
    assert found == whole


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_surface_sees_sentences_end(language: str) -> None:
    statement = SENTENCES[language][1]
    assert surface_features(statement, regex.sub(r"\P{L}+\Z", "", statement))[1] == 1


@pytest.mark.parametrize(
    ("prompt", "rule"),
    [
        ("蓝色的天空", "rule_5_too_short"),  # about as much as 15 characters of English
        ("请用简单的话解释为什么天空是蓝色的", "ok"),  # no mark, but 17 of its characters
        ("天" * 84, "rule_5_too_long"),  # as 252 of English
        ("天" * 83, "ok"),
        ("天" * 300 + "。", "ok"),
        ("ท้องฟ้า", "rule_5_too_short"),
        ("ทำไมท้องฟ้าจึงเป็นสีฟ้า", "ok"),  # Thai sentences have no mark
        ("ทำไมท้องฟ้า" * 30, "ok"),
    ],
)
def test_lengths_mean_about_the_same_in_every_script(prompt: str, rule: str) -> None:
    assert check_prompt_length(prompt, "stop", "corrected").rule == rule


def test_what_the_token_limit_cut_off_is_dropped_in_every_script() -> None:
    for prompt in ("天" * 83, "ทำไมท้องฟ้า" * 30, "为什么天空是蓝色的？"):
        assert check_prompt_length(prompt, "length", "corrected").rule == "rule_5_cut_off"


def test_the_original_counts_as_it_did() -> None:
    assert (
        check_prompt_length("为什么天空是蓝色的？", "stop", "original").rule == "rule_5_too_short"
    )
    assert check_answer("请帮我写一段祝酒词。" * 4, "stop", "original").rule == "rule_12_short"
    assert check_answer("请帮我写一段祝酒词。" * 9, "stop", "original").rule == "rule_12_unfinished"


SIMILAR = {
    "Chinese": ("为什么天空在白天看起来是蓝色的？", "为什么大海在白天看起来是蓝色的？"),
    "Japanese": ("空はなぜ昼間は青く見えるのですか。", "海はなぜ昼間は青く見えるのですか。"),
    "Thai": ("ทำไมท้องฟ้าจึงเป็นสีฟ้าในตอนกลางวัน", "ทำไมทะเลจึงเป็นสีฟ้าในตอนกลางวัน"),
    "Khmer": ("ហេតុអ្វីមេឃពណ៌ខៀវនៅពេលថ្ងៃ", "ហេតុអ្វីសមុទ្រពណ៌ខៀវនៅពេលថ្ងៃ"),
    "Hindi": ("आसमान दिन में नीला क्यों दिखता है?", "समुद्र दिन में नीला क्यों दिखता है?"),
}
OTHER = {
    "Chinese": "请帮我写一段在哥哥婚礼上的祝酒词。",
    "Japanese": "兄の結婚式の短いスピーチを書いてください。",
    "Thai": "ช่วยเขียนคำอวยพรงานแต่งงานของพี่ชาย",
    "Khmer": "សូមជួយសរសេរពាក្យជូនពរអាពាហ៍ពិពាហ៍",
    "Hindi": "मेरे भाई की शादी के लिए भाषण लिखो।",
}


@pytest.mark.parametrize("language", SIMILAR)
def test_rule_6_finds_a_sentence_with_one_word_changed_and_no_other(language: str) -> None:
    one, two = SIMILAR[language]
    index = OverlapIndex(0.5)
    index.add("one", tokenize_words(one))
    assert check_overlap(two, index, tokenize_words).rule == "rule_6_overlap"
    assert check_overlap(OTHER[language], index, tokenize_words).kept
    assert rouge_l(tokenize_words(one), tokenize_words(OTHER[language])) < 0.3


def test_words_are_whole_and_marks_their_own() -> None:
    assert split_words("हिन्दी में लिखो।") == ["हिन्दी", "में", "लिखो", "।"]
    assert split_words("第2章，データ") == ["第", "2", "章", "，", "デ", "ー", "タ"]
    assert split_words("ไทย") == ["ไท", "ทย"]
    assert split_words("ก") == ["ก"]


def test_a_run_of_characters_is_as_long_as_one_of_words() -> None:
    """A phrase that is common to two Chinese questions is no contamination; a question is."""
    item = {"item": "请你告诉我怎样才能在三个月之内学会说一口流利的法语呢？"}
    phrase = {"text": "请你告诉我怎样做红烧肉。"}
    assert find_overlaps(phrase, item) == []
    repeated = {
        "text": "有人问：怎样才能在三个月之内学会说一口流利的法语呢？请回答这个问题，谢谢大家。"
    }
    [found] = find_overlaps(repeated, item)
    assert (found["kind"], found["value"]) == ("ngram", 21.0)


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        ("好。坏", [2]),
        ("他说：“好。”然后走了", [7]),
        ("真的吗？！是", [5]),
        ("圆周率是３．１４", []),
        ("1、苹果\n2、梨", [4]),
        ("・りんご\n・なし", [4]),
        ("a; b", []),
        ("είναι; ναι", [6]),
    ],
)
def test_ends_of_other_scripts_are_found_within_a_text(answer: str, ends: list[int]) -> None:
    assert sorted(find_ends(answer)) == ends


def test_all_question_marks_that_end_sentences_are_known() -> None:
    found = {
        chr(number)
        for number in range(128, sys.maxunicode + 1)
        if "QUESTION" in unicodedata.name(chr(number), "")
        and regex.match(r"\p{Sentence_Terminal}", chr(number))
    }
    assert found == set(QUESTION_MARKS)


# English as people and models write it: with curly quotes, dashes, accents and emoji.
ENGLISH = st.text(
    st.sampled_from(
        "abcXYZ019 .,;:!?'\"()[]*_-\n\t“”‘’—–…éñüßÆœ½²№€•😀❤\ufe0f\u20e3\u0301\u200d\u00a0"
    )
)


@given(ENGLISH)
def test_english_is_treated_as_before(text: str) -> None:
    assert split_words(text.lower()) == re.findall(r"\w+|[^\w\s]", text.lower())
    assert measure_length(text) == len(text)
    assert ends_sentence(text) == text.endswith((".", "?", "!"))
    assert ends_openly(text) == text.endswith(("?", ":"))
    assert find_ends(text) == find_english_ends(text)


def find_english_ends(answer: str) -> list[int]:
    """As it was before other scripts were known."""
    ends = [
        match.end()
        for match in re.finditer(r"[.!?][\"')\]\u201d\u2019*_]*(?=\s|$)", answer)
        if not re.search(r"(?:^|\s)\d{1,2}$", answer[: match.start()])
    ]
    lines = re.finditer(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S[^\n]*(?=\n)", answer, re.MULTILINE)
    return ends + [match.end() for match in lines]


def test_our_own_texts_are_treated_as_before(project: Path) -> None:
    for path in (project / "assets").glob("*.txt"):
        text = path.read_text()
        assert split_words(text) == re.findall(r"\w+|[^\w\s]", text)
        assert find_ends(text) == find_english_ends(text)
        for line in text.splitlines():
            assert ends_sentence(line) == line.endswith((".", "?", "!"))

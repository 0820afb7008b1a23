"""A few rows of each kind, from which nodes describe their jobs; as written once for good."""

MODEL = "smollm2-135m"
SPLITS = (
    "reward_model",
    "held_out",
    "held_out_reward_model",
    "self_play",
    "rl",
    "watch",
    "policy_test",
)
PROMPTS = [
    {"prompt_id": f"{split}-{n}", "text": f"How is {split} {n} mended?", "shot_ids": ["s"]}
    | {"request_id": f"q-{split}-{n}"}
    for split in SPLITS
    for n in range(2)
]
PROMPT_SPLITS = [
    {"prompt_id": row["prompt_id"], "split": row["prompt_id"].rpartition("-")[0]} for row in PROMPTS
]
COMPARISONS = [
    {
        "comparison_id": f"c-{row['prompt_id']}",
        "prompt_id": row["prompt_id"],
        "prompt": row["text"],
        "chosen": "With glue and some patience.",
        "rejected": "By someone else, I hope.",
        "chosen_id": f"a-{row['prompt_id']}",
        "rejected_id": f"b-{row['prompt_id']}",
        "chosen_assistant": "A",
        "rejected_assistant": "B",
        "factors": ["shots"],
    }
    for row in PROMPTS[:6]
]
ASSISTANTS = [
    {
        "name": f"{MODEL}-{demonstrations}-{shots}shot",
        "model": MODEL,
        "demonstrations": demonstrations,
        "shots": shots,
        "max_new_tokens": 40,
        "prefix": f"This is {demonstrations}.\n\n-----",
        "off_topic": False,
    }
    for demonstrations, shots in (("Faithful", 3), ("HHH", 3), ("HHH", 1))
]
DIALOGUE = "\n\nHuman: How is a sieve mended?\n\nAssistant:"
DEMONSTRATIONS = [
    {
        "demonstration_id": f"d{n}",
        "prompt_id": f"self_play-{n}",
        "candidate_id": f"k{n}",
        "turn": 1,
        "dialogue": DIALOGUE,
        "answer": f"With {n + 2} wires.",
    }
    for n in range(2)
]
HHH = [
    {"item_id": "hhh-0001", "category": "helpful", "dialogue": DIALOGUE}
    | {"chosen": "With wire.", "rejected": "Dunno."}
]
MC1 = [
    {"item_id": "mc1-0001", "category": "Myths", "question": "Do bulls hate red?"}
    | {"choices": ["No.", "Yes."]}
]
QUESTIONS = [{"item_id": "open-0001", "category": "generic", "question": "What is rust?"}]
OPEN_ANSWERS = [
    {"answer_id": f"{policy}-1", "item_id": "open-0001", "policy": policy, "text": text}
    | {"finish_reason": "eos", "n_tokens": 3}
    for policy, text in (("base", "Red."), ("prompted", "Iron."), ("sft", "Old."), ("rl", "It."))
]

"""Where rows of tasks come from and under which terms, and what was left out for its terms or its nature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """`trained`: whether rows of it may be trained on; otherwise they only judge."""

    told: str
    terms: str
    trained: bool = True


SOURCES = {
    "recipe": Source("written for this recipe (`recipe/tasks`)", "those of this repository"),
    "function-vectors": Source("ericwtodd/function_vectors (Todd et al., ICLR 2024), `dataset_files/`", "MIT"),
    "instruction-induction": Source("orhonovich/instruction-induction (Honovich et al., 2022), rows and people's wordings", "Apache-2.0"),
    "clinc150": Source("clinc/oos-eval (Larson et al., 2019), `data_full.json`, `domains.json`", "CC BY 3.0"),
    "restaurant8k": Source("PolyAI-LDN/task-specific-datasets, `span_extraction/restaurant8k` (Coope et al., 2020)", "CC BY 4.0"),
    "banking77": Source("PolyAI-LDN/task-specific-datasets, `banking_data` (Casanueva et al., 2020)", "CC BY 4.0", trained=False),
    "dstc8": Source(
        "PolyAI-LDN/task-specific-datasets, `span_extraction/dstc8`, from the Schema-Guided Dialogue data",
        "CC BY 4.0; what it was made from is CC BY-SA 4.0",
        trained=False,
    ),
}

LEFT_OUT = {
    "function-vectors: english-french, english-german, english-spanish": "MUSE word lists, CC BY-NC",
    "function-vectors: sentiment; instruction-induction: sentiment": "SST-2, whose texts have no clear terms",
    "function-vectors: antonym, synonym": "from Nguyen et al. (2017), whose terms were not looked up; several answers are right",
    "function-vectors: country-capital, country-currency, landmark-country, national_parks, park-country, person-*, product-company": (
        "knowledge, which no form teaches"
    ),
    "function-vectors: commonsense_qa": "knowledge and reasoning, out of reach of this base",
    "function-vectors: next_item, prev_item, present-past, singular-plural": "fewer than 300 rows; the recipe's own have more",
    "instruction-induction: word_in_context": "WiC, CC BY-NC 4.0",
    "instruction-induction: sentence_similarity, negation, orthography_starts_with": "sentences of other data sets, terms not looked up",
    "instruction-induction: translation_*, antonyms, synonyms, rhymes, common_concept, cause_and_effect, informal_to_formal": (
        "several answers are right, or fewer than 30 rows"
    ),
    "instruction-induction: larger_animal": "knowledge",
    "clinc150: rows out of scope": "no label of their own; 1,200 rows of no task",
}

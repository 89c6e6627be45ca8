"""An LLM writes the questions of DSG and TIFA for new prompts."""

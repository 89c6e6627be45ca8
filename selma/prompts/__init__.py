"""An LLM writes prompts for a skill; only new ones that are in no benchmark are kept."""

"""What is wrong with an environment: facts are gathered once, and each rule turns a known trouble into its fix."""

from harness.doctor.facts import Facts, Loaded, Machine, Store, gather
from harness.doctor.rules import RULES, Finding, examine

__all__ = ["RULES", "Facts", "Finding", "Loaded", "Machine", "Store", "examine", "gather"]

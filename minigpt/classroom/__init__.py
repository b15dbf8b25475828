"""The learner's side of minigpt. It may import anything; nothing imports it but the command line."""

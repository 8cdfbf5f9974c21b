"""What the artifacts of a round are called, each by its run."""

GENERATIONS, POLICY = "generations", "policy_logprobs"
ROUND_ANSWERS, ROUND_REWARDS, ROUND_REPORT = "round_answers", "round_rewards", "round_report"

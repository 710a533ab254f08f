"""kns churn: what a change costs the traffic."""

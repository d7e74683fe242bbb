"""Who may use the gateway, how much is left to them, and what was used: keys, budgets, the usage
ledger and prices.
"""

"""What the doctors find: a grade, a stable code, one sentence, and the exact change that mends it.

`mailward doctor` looks at the platform and the machine that it runs on, `mailward sender doctor` at what stands between
Postfix and the policy server. `catalogue` explains every code of the platform's.
"""

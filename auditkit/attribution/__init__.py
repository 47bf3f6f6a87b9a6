"""Attribution methods and their trust checks: functions of a decision, its inputs and the columns they encode."""

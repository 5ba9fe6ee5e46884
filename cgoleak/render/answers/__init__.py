"""The five questions of somebody who sees a report for the first time, answered from it."""

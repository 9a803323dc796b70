"""Details of failures, less and less exact: what is counted when there are too many different ones. First goes what a
stranger's server can say anew each time.
"""

import msgspec

from mailward.core.tlsrpt.schema import FailureDetail

COARSEST = 3


def coarser(failure: FailureDetail, level: int) -> FailureDetail:
    """0: as it is; 1: without texts; 2: without addresses too; 3: the result type alone."""
    if level <= 0:
        return failure
    if level >= COARSEST:
        return FailureDetail(result_type=failure.result_type)
    without_texts = msgspec.structs.replace(
        failure, receiving_mx_helo=None, additional_information=None, failure_reason_code=None
    )
    if level == 1:
        return without_texts
    return msgspec.structs.replace(without_texts, sending_mta_ip=None, receiving_ip=None)

from mailward.core.tlsrpt.coarse import COARSEST, coarser
from mailward.core.tlsrpt.schema import FailureDetail

EXACT = FailureDetail(
    result_type="validation-failure",
    sending_mta_ip="192.0.2.1",
    receiving_mx_hostname="mx.a.test",
    receiving_mx_helo="hello",
    receiving_ip="192.0.2.2",
    additional_information="https://a.test/",
    failure_reason_code="why",
)


def test_texts_go_first_then_addresses_then_all_but_the_type() -> None:
    without_texts = FailureDetail(
        result_type="validation-failure",
        sending_mta_ip="192.0.2.1",
        receiving_mx_hostname="mx.a.test",
        receiving_ip="192.0.2.2",
    )
    host_alone = FailureDetail(result_type="validation-failure", receiving_mx_hostname="mx.a.test")
    found = [coarser(EXACT, level) for level in range(COARSEST + 1)]
    assert found == [EXACT, without_texts, host_alone, FailureDetail(result_type="validation-failure")]

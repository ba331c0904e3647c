"""Which processors multiply bfloat16 faster than float32."""

import pytest

from tf_deblur import devices

# By measurements that benchmarks/results.md tells of: a Xeon without AMX takes 1.6 times as long in
# bfloat16 as in float32, an EPYC half as long.
PROCESSORS = {
    "vendor_id : GenuineIntel\nflags : avx2 avx512f avx512_bf16 amx_bf16 amx_tile": "AMX",
    "vendor_id : GenuineIntel\nflags : avx2 avx512f avx512_bf16": None,
    "vendor_id : AuthenticAMD\nflags : avx2 avx512f avx512_bf16": "AVX-512 BF16",
    "vendor_id : AuthenticAMD\nflags : avx2": None,
}


@pytest.mark.parametrize("told, unit", PROCESSORS.items())
def test_bfloat16_is_taken_where_the_processor_is_faster_in_it(told, unit, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(told)
    assert devices.find_unit(devices.BFLOAT16_UNITS, tmp_path) == unit


@pytest.mark.parametrize(
    "told, unit",
    [
        ("flags : avx512f avx512_vnni amx_int8", "AMX"),
        ("flags : avx512f avx512_vnni", "AVX-512 VNNI"),
        ("flags : avx2 avx_vnni", "AVX-VNNI"),
        ("flags : avx2 avx512f avx512bw", None),  # its sums of eight bits overflow
    ],
)
def test_int8_is_for_processors_that_sum_it_in_32_bits(told, unit, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(told)
    assert devices.find_unit(devices.INT8_UNITS, tmp_path) == unit


def test_elsewhere_no_processor_is_faster_in_it(tmp_path):
    assert devices.find_unit(devices.BFLOAT16_UNITS, tmp_path) is None

// SPDX-License-Identifier: Apache-2.0
#include "../names.h"

#include <string.h>

#include "check.h"

static void check_addresses(void)
{
	static const char *const right[] = { "0000:6b:00.1", "ffff:ff:1f.7", "10000:01:00.0",
					     "ffffffff:00:00.0" };
	static const char *const wrong[] = {
		"",
		"6b:00.1",
		"000:6b:00.1",
		"00000:6b:00.1",
		"123456789:6b:00.1",
		"0000:6B:00.1",
		"0000:6b:20.1",
		"0000:6b:00.8",
		"0000:6b:00.1 ",
		" 0000:6b:00.1",
		"0000:6b:00.",
		"0000:6b:00",
		"0000-6b:00.1",
		"0000:6b:0.10",
		"0000:6b:00,1",
		"0000",
	};

	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++)
		CHECK(is_address(right[i]));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		CHECK(!is_address(wrong[i]));
}

static void check_virtfns_and_decimals(void)
{
	CHECK(is_virtfn("virtfn0") && is_virtfn("virtfn127"));
	CHECK(!is_virtfn("virtfn") && !is_virtfn("virtfn01") && !is_virtfn("virtfn1x") &&
	      !is_virtfn("physfn"));
	CHECK(is_decimal("0") && is_decimal("312") && is_decimal("999999999"));
	CHECK(!is_decimal("") && !is_decimal("007") && !is_decimal("-1") &&
	      !is_decimal("1000000000"));
	CHECK(!is_decimal("3 ") && !is_decimal("0x3"));
}

static bool number_is(const char *text, int64_t wanted)
{
	int64_t value = -7;

	return is_number(text, strlen(text), &value) && value == wanted;
}

static bool no_number(const char *text, size_t length)
{
	int64_t value = -7;

	return !is_number(text, length, &value) && value == -7;
}

static void check_numbers(void)
{
	int64_t value;

	CHECK(is_number("200\n\0", 5, &value) && value == 200); /* as debugfs writes some */
	CHECK(number_is("0x8086\n", 0x8086) && number_is("0xffffffff", 0xffffffff) &&
	      number_is(" \t0\n", 0));
	CHECK(number_is("-1\n", -1) && number_is("999999999", 999999999) && number_is("007", 7));
	CHECK(no_number("", 0) && no_number("\n", 1) && no_number("0x", 2) && no_number("0X1", 3) &&
	      no_number("-", 1));
	CHECK(no_number("0x100000000", 11) && no_number("1000000000", 10) && no_number("1_0", 3) &&
	      no_number("--1", 3));
	CHECK(no_number("0x8\0x", 5) && no_number("1 2", 3) && no_number("0xA", 3));
}

int main(void)
{
	check_addresses();
	check_virtfns_and_decimals();
	check_numbers();
	return 0;
}

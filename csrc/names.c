// SPDX-License-Identifier: Apache-2.0
#include "names.h"

#include <string.h>

enum { MOST_DIGITS = 9, MOST_HEX_DIGITS = 8, DOMAIN_DIGITS = 4 };

static int digit_of(char c, int base)
{
	int value = -1;

	if (c >= '0' && c <= '9')
		value = c - '0';
	else if (c >= 'a' && c <= 'f')
		value = c - 'a' + 10;
	return value < base ? value : -1;
}

/* Take digits from the front: how many there are. Their value is that of the first `most`. */
static size_t digits(const char *text, size_t length, int base, size_t most, int64_t *value)
{
	int64_t sum = 0;
	size_t n;

	for (n = 0; n < length && digit_of(text[n], base) >= 0; n++)
		if (n < most)
			sum = sum * base + digit_of(text[n], base);
	*value = sum;
	return n;
}

static bool is_hex(const char *text, size_t length)
{
	int64_t value;

	return digits(text, length, 16, 0, &value) == length;
}

/* Below a domain: 6b:00.1, a device of five bits, a function of three. */
static bool is_slot(const char *text)
{
	return strlen(text) == 7 && is_hex(text, 2) && text[2] == ':' &&
	       (text[3] == '0' || text[3] == '1') && is_hex(text + 4, 1) && text[5] == '.' &&
	       text[6] >= '0' && text[6] <= '7';
}

bool is_address(const char *name)
{
	int64_t value;
	size_t domain = digits(name, strlen(name), 16, 0, &value);

	if (domain < DOMAIN_DIGITS || domain > MOST_HEX_DIGITS || name[domain] != ':')
		return false;
	if (domain > DOMAIN_DIGITS && name[0] == '0')
		return false;
	return is_slot(name + domain + 1);
}

bool is_virtfn(const char *name)
{
	static const char prefix[] = "virtfn";
	size_t length = sizeof(prefix) - 1;

	return !strncmp(name, prefix, length) && is_decimal(name + length);
}

bool is_decimal(const char *name)
{
	int64_t value;
	size_t n = digits(name, strlen(name), 10, 0, &value);

	return n > 0 && n <= MOST_DIGITS && !name[n] && (n == 1 || name[0] != '0');
}

static bool is_blank(char c)
{
	return c == '\0' || c == ' ' || c == '\n' || c == '\t';
}

bool is_number(const char *text, size_t length, int64_t *value)
{
	size_t most = MOST_DIGITS, n;
	bool negative = false;
	int base = 10;
	int64_t found;

	for (; length && is_blank(text[0]); length--)
		text++;
	while (length && is_blank(text[length - 1]))
		length--;
	if (length > 2 && text[0] == '0' && text[1] == 'x') {
		base = 16;
		most = MOST_HEX_DIGITS;
		text += 2;
		length -= 2;
	} else if (length && text[0] == '-') {
		negative = true;
		text++;
		length--;
	}
	n = digits(text, length, base, most, &found);
	if (n != length || n == 0 || n > most)
		return false;
	*value = negative ? -found : found;
	return true;
}

// SPDX-License-Identifier: Apache-2.0
/* Throws whatever comes at names.c, and compares with what the C library makes of it. */
#include "../names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define CLAIM(claim)                                                                               \
	do {                                                                                       \
		if (!(claim))                                                                      \
			abort();                                                                   \
	} while (0)

static void try_address(const char *text)
{
	unsigned int domain, bus, device, function;
	char again[32];

	if (!is_address(text))
		return;
	CLAIM(sscanf(text, "%x:%x:%x.%x", &domain, &bus, &device, &function) == 4);
	CLAIM(bus < 256 && device < 32 && function < 8);
	snprintf(again, sizeof(again), "%04x:%02x:%02x.%d", domain, bus, device, (int)function);
	CLAIM(!strcmp(text, again));
}

static void try_decimal(const char *text)
{
	char again[32];

	if (!is_decimal(text))
		return;
	snprintf(again, sizeof(again), "%ld", strtol(text, NULL, 10));
	CLAIM(!strcmp(text, again));
}

static void try_number(const char *text, size_t length)
{
	int64_t value = INT64_MAX, expected;
	const char *begin = text;
	char *end;

	if (!is_number(text, length, &value)) {
		CLAIM(value == INT64_MAX);
		return;
	}
	while (!*begin || strchr(" \t\n", *begin))
		begin++;
	expected = strtoll(begin, &end, begin[0] == '0' && begin[1] == 'x' ? 16 : 10);
	CLAIM(value == expected && end > begin);
	for (; end < text + length; end++)
		CLAIM(!*end || strchr(" \t\n", *end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	try_address(text);
	try_decimal(text);
	CLAIM(!is_virtfn(text) || !strncmp(text, "virtfn", 6));
	try_number(text, size);
	free(text);
	return 0;
}

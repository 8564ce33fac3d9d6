// SPDX-License-Identifier: Apache-2.0
/*
 * Stands in for libFuzzer, which clang alone has: throws texts made by chance, always the same
 * ones, of characters and words that the parsers know. Arguments: how many, and where to begin.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static const char *const words[] = {
	"0000:6b:00.1",
	"virtfn",
	"0x8086\n",
	"0x",
	"-",
	":",
	".",
	"\n",
	"\t",
	" ",
	"0",
	"1",
	"7",
	"8",
	"9",
	"a",
	"f",
	"g",
	"x",
	"00",
	"1f.",
	":00",
	"10000:",
	"999999999",
	"ffffffff",
	"A",
	"_",
	"\xff",
	"sym;asym",
	"",
};

static uint64_t state;

/* xorshift64 */
static size_t below(size_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (size_t)(state % limit);
}

static size_t make(char *text, size_t most)
{
	size_t length = 0, of_word;
	const char *word;

	for (size_t n = below(8); n > 0; n--) {
		word = words[below(sizeof(words) / sizeof(*words))];
		of_word = *word ? strlen(word) : 1; /* the empty one stands for a NUL */
		if (length + of_word > most)
			break;
		memcpy(text + length, word, of_word);
		length += of_word;
	}
	if (length && below(4) == 0)
		text[below(length)] = (char)below(256);
	return length;
}

int main(int count, char **arguments)
{
	unsigned long runs = count > 1 ? strtoul(arguments[1], NULL, 10) : 100000;
	char text[256];

	state = count > 2 ? strtoul(arguments[2], NULL, 10) | 1 : 1;
	while (runs--)
		LLVMFuzzerTestOneInput((const uint8_t *)text, make(text, sizeof(text)));
	return 0;
}

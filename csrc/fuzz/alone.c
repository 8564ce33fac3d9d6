// SPDX-License-Identifier: Apache-2.0
/*
 * Stands in for libFuzzer, which clang alone has: throws texts made by chance, always the same
 * ones, of characters and words that the parsers know. Of libFuzzer's arguments it takes -runs=N,
 * -max_total_time=SECONDS and -seed=N, and passes over the others.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
	"../groups/",
	"0x4941",
	"",
	"",
	"",
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

	for (size_t n = below(16); n > 0; n--) {
		word = words[below(sizeof(words) / sizeof(*words))];
		of_word = *word ? strlen(word) : 1; /* an empty one stands for a NUL */
		if (length + of_word > most)
			break;
		memcpy(text + length, word, of_word);
		length += of_word;
	}
	if (length && below(4) == 0)
		text[below(length)] = (char)below(256);
	return length;
}

/* The number behind a word such as -runs=, where it is among the arguments. */
static unsigned long option(char **arguments, const char *word, unsigned long otherwise)
{
	for (; *arguments; arguments++)
		if (!strncmp(*arguments, word, strlen(word)))
			return strtoul(*arguments + strlen(word), NULL, 10);
	return otherwise;
}

int main(int count, char **arguments)
{
	unsigned long most = option(arguments, "-runs=", ULONG_MAX), runs = 0;
	time_t longest = (time_t)option(arguments, "-max_total_time=", 0);
	time_t begin = time(NULL);
	char text[256];

	(void)count;
	state = option(arguments, "-seed=", 1) | 1;
	for (; runs < most && (!longest || time(NULL) - begin < longest); runs++)
		LLVMFuzzerTestOneInput((const uint8_t *)text, make(text, sizeof(text)));
	fprintf(stderr, "stat::number_of_executed_units: %lu\n", runs); /* as libFuzzer says it */
	return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "answers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "file.h"

int answers_begin(struct qatdp_answers *answers)
{
	uint32_t slots = answers->slots;

	/* One slot is always free, or a search would not end. */
	if (slots <= answers->most || slots & (slots - 1))
		return -EINVAL;
	memset(answers->slot, 0, slots * sizeof(*answers->slot));
	answers->count = 0;
	answers->used = 0;
	return 0;
}

/* FNV-1a */
static uint32_t hash_of(enum qatdp_kind kind, const char *path)
{
	uint32_t hash = 2166136261u ^ (uint32_t)kind;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 16777619u;
	return hash;
}

/* The slot of an answer, or the free one where it belongs. */
static uint32_t *slot_of(const struct qatdp_answers *answers, enum qatdp_kind kind,
			 const char *path)
{
	uint32_t mask = answers->slots - 1, at = hash_of(kind, path) & mask;
	const struct qatdp_answer *answer;

	for (; answers->slot[at]; at = (at + 1) & mask) {
		answer = &answers->answer[answers->slot[at] - 1];
		if (answer->kind == kind && !strcmp(answers->text + answer->path, path))
			break;
	}
	return &answers->slot[at];
}

static int fetch(const struct folder *folder, enum qatdp_kind kind, const char *path, char *data,
		 size_t size)
{
	int base = folder->descriptor;

	if (folder->error)
		return folder->error;
	/* The folder itself has no more behind it than its own path. */
	path = strlen(path) < folder->length ? "." : path + folder->length;
	switch (kind) {
	case QATDP_READ:
		return qatdp_read(base, path, data, size);
	case QATDP_LINK:
		return qatdp_link(base, path, data, size);
	case QATDP_LIST:
		return qatdp_list(base, path, data, size);
	case QATDP_EXISTS:
		return qatdp_exists(base, path);
	}
	return -EINVAL;
}

/* Ask about the path that lies at `used`, and put what comes back behind it. */
static int append(struct qatdp_answers *answers, const struct folder *folder, enum qatdp_kind kind,
		  uint32_t data)
{
	const char *path = answers->text + answers->used;
	int outcome;

	/* Room for all but long listings, and a NUL: any other ENOBUFS is the kernel's. */
	if (answers->count == answers->most || answers->size - data <= QATDP_READ_BYTES)
		return -ENOBUFS;
	outcome = fetch(folder, kind, path, answers->text + data, answers->size - data - 1);
	if (outcome == -ENOBUFS && kind == QATDP_LIST)
		return outcome;
	answers->answer[answers->count++] = (struct qatdp_answer){
		.kind = kind,
		.status = outcome < 0 ? outcome : 0,
		.path = answers->used,
		.data = data,
		.length = outcome < 0 ? 0 : (uint32_t)outcome,
	};
	answers->used = data + (outcome < 0 ? 0 : (uint32_t)outcome);
	answers->text[answers->used++] = '\0';
	return 0;
}

int answers_ask(struct qatdp_answers *answers, const struct folder *folder, enum qatdp_kind kind,
		const struct qatdp_answer **answer, const char *format, va_list arguments)
{
	uint32_t room = answers->size - answers->used, *slot;
	char *path = answers->text + answers->used;
	int length, error;

	length = vsnprintf(path, room, format, arguments);
	if (length < 0 || (uint32_t)length >= room)
		return -ENOBUFS;
	slot = slot_of(answers, kind, path);
	if (!*slot) {
		error = append(answers, folder, kind, answers->used + (uint32_t)length + 1);
		if (error)
			return error;
		*slot = answers->count;
	}
	*answer = &answers->answer[*slot - 1];
	return 0;
}

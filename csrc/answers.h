/* SPDX-License-Identifier: Apache-2.0 */
/* Answers by path, in memory of the caller's: what has been asked once is not asked again. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stdarg.h>
#include <stddef.h>

#include "qatdp.h"

/* An open folder. Paths that begin with it are walked from there: the walk is most of the cost. */
struct folder {
	int descriptor;
	int error;     /* -errno where it could not be opened: it answers all questions then */
	size_t length; /* of its path, with a / behind */
};

/* Begin again, without any. -EINVAL for room that is not as qatdp.h says. */
int answers_begin(struct qatdp_answers *answers);

/*
 * Ask about the path that is formatted, the folder's or one below it: 0, and where the answer is,
 * for good. -ENOBUFS where there is no room.
 */
int answers_ask(struct qatdp_answers *answers, const struct folder *folder, enum qatdp_kind kind,
		const struct qatdp_answer **answer, const char *format, va_list arguments)
	__attribute__((format(printf, 5, 0)));

#endif

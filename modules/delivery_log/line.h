/*
 * line.h - a line of a delivery log that is being written.
 *
 * Text goes in as it may come from anywhere; in the line it is valid UTF-8 without tabs,
 * line ends and control characters: a line end with a blank behind it (a fold) is taken out, other
 * line ends and tabs become blanks, what else is no text `?`.  What has no room is left out: a text
 * whole, so that quotes and braces stay paired.
 */
#ifndef DELIVERY_LOG_LINE_H
#define DELIVERY_LOG_LINE_H

#include <greenarrow/ga_mem.h>

#define DL_LINE_MAX 65536u	/* the sink cuts what is longer */
#define DL_TEXT_MAX 512u	/* octets of a text that are kept; no address or id is longer */
#define DL_REPLY_MAX 4096u	/* of a reply */

struct dl_line {
	char *p;
	size_t n, room;
};

enum dl_quote {
	DL_PLAIN,
	DL_JSON_STRING,		/* with its quotes */
	DL_CSV_FIELD,		/* quoted where it must be (RFC 4180) */
	DL_LOWER = 4		/* added to the others: ASCII letters in lower case */
};

void dl_raw(struct dl_line *, struct ga_str);	/* as it is */
void dl_char(struct dl_line *, char);
void dl_text(struct dl_line *, struct ga_str, size_t max, enum dl_quote);
void dl_number(struct dl_line *, uint64_t);
/* With `digits` decimals of the `scale` that v has: 1234567, 6, 3 is "1.234". */
void dl_decimal(struct dl_line *, uint64_t v, unsigned scale, unsigned digits);
/* "2026-11-26 17:40:42+0000", local time; kept from call to call for the same second. */
void dl_time(struct dl_line *, uint64_t seconds);

#endif

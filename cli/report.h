/*
 * report.h - what the files of hvmail_report share
 *
 *	hvmail_report.c		options; the directories, merged in the order of time
 *	report_record.c		a line as columns
 *	report_filter.c		which records are wanted
 *	report_print.c		records as text
 *	report_summary.c	records counted
 *	report_mtas.c		names of VirtualMTAs and their numbers
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#include <greenarrow/ga_mem.h>

/* --- records --- */

/* In the order in which a line has them. */
enum report_column {
	COL_TIMESTAMP, COL_CHANNEL, COL_STATUS, COL_IS_RETRY, COL_MSGUID, COL_RECIPIENT, COL_SENDER, COL_MTAID,
	COL_SENDID, COL_LISTID, COL_INJECTED_TIME, COL_MESSAGE, COL_OUTMTAID, COL_OUTMTAID_IP, COL_OUTMTAID_HOSTNAME,
	COL_SENDSLICEID, COL_THROTTLEID, COL_CLICKTRACKINGID, COL_MX_HOSTNAME, COL_MX_IP, COL_FROM_ADDRESS,
	COL_HEADERS, COL_MESSAGE_SIZE, COL_SMTP_TIMING, COL_QUEUE_FSYNC, COLUMNS
};
#define COLUMNS_LEAST COL_QUEUE_FSYNC	/* a line with fewer was torn */

enum report_kind { KIND_TEXT, KIND_NUMBER, KIND_OBJECT };	/* as JSON has it */

struct report_column_info {
	const char *name;
	enum report_kind kind;
};
extern const struct report_column_info report_columns[COLUMNS];

/* A line of a delivery log, in either format; split as far as somebody asked. */
struct record {
	struct ga_str raw;
	struct ga_str column[COLUMNS];
	size_t n;			/* columns that are split off */
	struct ga_str rest;		/* what is behind them */
	bool ended;			/* nothing is */
	struct json_tokener *tokener;
	struct json_object *json;	/* NULL: columns with tabs between */
};

/* record: zeroed before its first use.  Valid as long as the text of line is.  False: it is no record. */
bool record_read(struct record *, struct ga_str line);
/* Empty where the line has none. */
struct ga_str record_column(struct record *, enum report_column);
/* It has all columns that every line has. */
bool record_complete(struct record *);
/* The text of a column as an object, the caller's; NULL: it is none. */
struct json_object *record_object(struct record *, struct ga_str);
void record_end(struct record *);

/* --- VirtualMTAs --- */

struct report_mtas;

/* Those of a configuration which have an mta_id, whatever else is in it; an empty list when it cannot be read. */
struct report_mtas *report_mtas_read(struct ga_pool *, const char *file);
/* NULL: none has this name, or this number. */
const char *report_mtas_number(const struct report_mtas *, const char *name);
const char *report_mtas_name(const struct report_mtas *, struct ga_str number);

/* --- filters --- */

enum report_filter_kind {
	FILTER_ADDRESS,		/* of mail: @ or * is in it, or it is empty */
	FILTER_STATUS,
	FILTER_YES_NO,		/* 0 or 1 */
	FILTER_MTA,		/* a name or a number, in mtaid or outmtaid */
	FILTER_TEXT
};

struct report_filter_info {
	const char *option;
	char letter;
	enum report_filter_kind kind;
	enum report_column column;
	const char *help;
};
extern const struct report_filter_info report_filters[];
extern const size_t report_nfilters;

struct report_filter;

/* pool: lives as long as the filter. */
struct report_filter *report_filter_new(struct ga_pool *, const struct report_mtas *);
/* One value of option report_filters[i]; the text stays the caller's.  NULL, or what is wrong with it. */
const char *report_filter_add(struct report_filter *, size_t i, const char *value);
bool report_filter_match(const struct report_filter *, struct record *);

/* "*" stands for any octets, also none; letters are compared without case.  For tests. */
bool report_wildcard(struct ga_str pattern, struct ga_str text);

/* --- output --- */

typedef void report_print_fn(FILE *, struct record *);
report_print_fn report_print_columns, report_print_human, report_print_json;

/* A JSON string with its quotes; octets that are no UTF-8 are `?`. */
void report_json_string(FILE *, struct ga_str);

/* --- summaries --- */

#define SUMMARY_KEYS_MAX 100000		/* of one summary; about 30 MB of them */
#define SUMMARY_KEY_LEN 200		/* octets; the rest of a longer one is cut */

struct report_summary;

/* by: "domain", "virtual-mta", "status", "reply"; NULL: there is no such summary.  The pool's. */
struct report_summary *report_summary_new(struct ga_pool *, const char *by, const struct report_mtas *, size_t keys_max);
const char *report_summary_by(const struct report_summary *);
void report_summary_add(struct report_summary *, struct record *);
void report_summary_print(FILE *, struct report_summary *);
/* A member: "domain": [...] */
void report_summary_print_json(FILE *, struct report_summary *);

#endif

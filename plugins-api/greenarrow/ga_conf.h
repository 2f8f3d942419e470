/*
 * ga_conf.h - a module's directives, declared once.
 *
 * An X-macro of six columns is the single source of a directive: the C struct,
 * the table of offsets and a flat text are all made from it.  The text is what
 * everybody parses (the daemon, greenarrow_config, the manual), so they cannot
 * disagree, and it can be read out of the .so without running it.
 *
 *	X(type, field, default, constraint, contexts, help)
 *
 *  type        one of the ga_c_* below, without the prefix
 *  field       the directive's name in greenarrow.conf and in the struct
 *  default     as it would be written in greenarrow.conf; "" = unset
 *              (flag no, numbers 0, strings and lists empty)
 *  constraint  blank separated:
 *               min=V max=V       bounds, written as a value of the type; of a
 *                                 string or secret: its length in characters
 *               oneof=a|b|c       for choice: the words, in the order of the index
 *               is=KIND[,KIND...] what a string (each list item, the n-th word of
 *                                 words and of a table's row) must be; the last
 *                                 KIND holds for all words behind it:
 *                                 any ip cidr ipport host host_or_cidr (also
 *                                 *.DOMAIN) hostport (port may be
 *                                 left out) host_port (may not) listen (IP:PORT)
 *                                 mx_or_domain regex (POSIX extended) file (must
 *                                 be readable; made absolute) name
 *                                 log_directory user int real
 *                                 flag duration percent_or_int percent_or_rate
 *                                 auto_or_int; or the name of a context, or
 *                                 virtual_mta (ip_address, relay_server or
 *                                 routing_rule): "the name of such a block"
 *               required          an error when a block of that context lacks it
 *                                 and nothing that it inherits from has it
 *               unique            no two blocks may have the same value
 *               unique_in_block   no two blocks in one block (two rules of a
 *                                 throttle_template) may have the same value
 *               once              a second statement of a block must say the same
 *               repeat            may be written several times (lists accumulate)
 *               route             decides where mail goes: an error below mx: patterns
 *               restart           a change needs a restart; reload says so
 *               words=N or N-M    how many values the statement takes (for a
 *                                 table: each of its rows); "N-": N or more
 *  contexts    comma separated: general smtp_service ip_address relay_server
 *              routing_rule throttle_template rule throttle_program domain
 *              greenarrow_proxy proxy_server module top
 *  help        one line for the manual
 *
 * A directive X with the context throttle_template is written default_X there: it
 * holds for the domains that no rule of the template names.  One with the contexts
 * routing_rule and domain alone stands only in domain blocks of a routing_rule.
 *
 * A directive is resolved as DESIGN section 7 says (named IP's domain blocks,
 * `*`'s domain blocks, rules of the throttle_template, that itself, named IP, `ip_address *`, top-level domain, general,
 * default); the struct that ga_call_conf() returns is the result.
 */
#ifndef GREENARROW_GA_CONF_H
#define GREENARROW_GA_CONF_H

#include <greenarrow/ga_mem.h>

GA_BEGIN

/* directive types: the C type each one is stored as */
typedef bool ga_c_flag;			/* yes | no */
typedef int64_t ga_c_int;
typedef double ga_c_real;
typedef uint64_t ga_c_size;		/* "64MiB" "10M" "1000" -> bytes */
typedef uint64_t ga_c_duration;		/* "4h15m" "500ms" "2d" -> milliseconds */
typedef double ga_c_percent;		/* "25%" -> 25.0 */
typedef struct ga_rate { double per_second; struct ga_str text; } ga_c_rate;
					/* "7200/hr" -> 2.0; 0 = unlimited; text as written */
typedef struct ga_str ga_c_string;
typedef struct ga_str ga_c_secret;	/* never logged, never shown */
typedef struct ga_str ga_c_path;	/* absolute; relative ones start at control_directory */
typedef struct ga_str ga_c_domain;	/* lower case, A-label */
typedef unsigned ga_c_choice;		/* index into oneof= */
typedef struct ga_strlist { const struct ga_str *v; size_t n; } ga_c_list;
					/* values with commas (or blanks) between; repeated
					   statements accumulate; one that is written replaces
					   the default list */
typedef struct ga_strlist ga_c_words;	/* the blank-separated values of one statement */
typedef struct ga_wordlists { const struct ga_strlist *v; size_t n; } ga_c_table;
					/* repeated statements and comma items, each split
					   into words: `deliver_through ip-1 70, up 30` */

struct ga_conf_slot {
	const char *field;
	uint32_t offset;
	uint32_t size;
};

struct ga_conf_schema {
	const char *text;	/* one line a directive, columns separated by tabs:
				   field type default constraint contexts help */
	const struct ga_conf_slot *slots;
	uint32_t nslots;
	uint32_t size;		/* of the struct */
};

#define GA_CF_FIELD_(type, field, dflt, cons, ctx, help) ga_c_##type field;
#define GA_CF_TEXT_(type, field, dflt, cons, ctx, help)				\
	#field "\t" #type "\t" dflt "\t" cons "\t" ctx "\t" help "\n"
#define GA_CF_SLOT_(type, field, dflt, cons, ctx, help)				\
	{ #field, (uint32_t)offsetof(GA_CF_SELF_, field),			\
	  (uint32_t)sizeof(ga_c_##type) },

/* struct tag, with one member a directive. */
#define GA_CONF_STRUCT(tag, LIST) struct tag { LIST(GA_CF_FIELD_) }

/* tag##_schema; use after GA_CONF_STRUCT, with GA_CF_SELF_ defined as struct tag. */
#define GA_CONF_SCHEMA(tag, LIST)						\
	static const struct ga_conf_slot tag##_slots[] = { LIST(GA_CF_SLOT_) };	\
	static const struct ga_conf_schema tag##_schema = {			\
		LIST(GA_CF_TEXT_), tag##_slots,					\
		(uint32_t)(sizeof tag##_slots / sizeof tag##_slots[0]),		\
		(uint32_t)sizeof(struct tag)					\
	}

GA_END

#endif

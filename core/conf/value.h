/*
 * value.h - values of greenarrow.conf: text to C
 *
 * Parsing functions return NULL, or the reason as the end of a sentence that
 * begins with the value: "`x` " + "is not a duration ...".
 */
#ifndef GAC_CONF_VALUE_H
#define GAC_CONF_VALUE_H

#include <greenarrow/ga_conf.h>

enum gac_type {
	GAC_T_FLAG, GAC_T_INT, GAC_T_REAL, GAC_T_SIZE, GAC_T_DURATION, GAC_T_PERCENT, GAC_T_RATE,
	GAC_T_STRING, GAC_T_SECRET, GAC_T_PATH, GAC_T_DOMAIN, GAC_T_CHOICE, GAC_T_LIST, GAC_T_WORDS,
	GAC_T_TABLE, GAC_NTYPES
};

/* As stored in the struct of a module: see the ga_c_* types. */
union gac_typed {
	ga_c_flag flag;
	ga_c_int integer;
	ga_c_real real;		/* also percent */
	ga_c_size size;		/* also duration */
	ga_c_rate rate;
	ga_c_string str;	/* also secret, path, domain */
	ga_c_choice choice;
	ga_c_list list;		/* also words */
	ga_c_table table;
};

/* -1: no such type. */
int gac_type_find(struct ga_str name);
const char *gac_type_name(enum gac_type);
size_t gac_type_size(enum gac_type);
/* One value of a type that has one: all but list, words, table, choice, path. */
const char *gac_value_parse(struct ga_pool *, enum gac_type, struct ga_str, union gac_typed *);
/* -1, 0, 1 for types that have an order (int real size duration percent rate). */
int gac_value_compare(enum gac_type, const union gac_typed *, const union gac_typed *);

const char *gac_value_flag(struct ga_str, bool *);
const char *gac_value_int(struct ga_str, int64_t *);
const char *gac_value_real(struct ga_str, double *);
const char *gac_value_size(struct ga_str, uint64_t *bytes);
const char *gac_value_duration(struct ga_str, uint64_t *ms);
const char *gac_value_percent(struct ga_str, double *);
const char *gac_value_rate(struct ga_str, double *per_second);

#endif

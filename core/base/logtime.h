/*
 * logtime.h - when a line of a log directory was written, from the line itself
 */
#ifndef GAC_BASE_LOGTIME_H
#define GAC_BASE_LOGTIME_H

#include <greenarrow/ga_mem.h>

/* Nanoseconds since 1970; what lies outside of the years 1678 to 2262 is the nearest of these. */
#define GAC_LOG_NS_S INT64_C(1000000000)

/*
 * The time at the beginning of a line: a TAI64N stamp and a blank ("@4000... text"), an epoch time of
 * 9 to 11 digits as first of tab separated columns ("1726063521.17386<TAB>"), or as first
 * member of a JSON object ({"timestamp":1726063521.17386,).  What has more than 9 digits behind the
 * point is cut.  False: none of these; *at_ns is unchanged.  Any thread.
 */
bool gac_log_time(struct ga_str line, int64_t *at_ns);

#endif

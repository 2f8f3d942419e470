/*
 * date.c - the date of a trace line (RFC 5322 3.3).
 *
 * Called once a message, on any thread.  Not strftime(): its names of days and
 * months follow the locale.
 */
#include <stdio.h>

#include "mail/mail.h"

size_t ga_mail_date(time_t t, char buf[GA_DATE_ROOM])
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;
	long zone;
	int n;

	if (localtime_r(&t, &tm) == NULL) {
		t = 0;
		localtime_r(&t, &tm);
	}
	zone = tm.tm_gmtoff / 60;
	n = snprintf(buf, GA_DATE_ROOM, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld",
	    days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec, zone < 0 ? '-' : '+',
	    (zone < 0 ? -zone : zone) / 60, (zone < 0 ? -zone : zone) % 60);
	return n < 0 ? 0 : n < GA_DATE_ROOM ? (size_t)n : GA_DATE_ROOM - 1;
}

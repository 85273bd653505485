#!/bin/sh
# Writes what tcpdump makes of each line of expressions.txt: the line, and its program as -ddd prints it, not
# optimised (optimised ones look at less of a short frame). Recorded with tcpdump 4.99.3, libpcap 1.10.3.
#   ./record.sh < expressions.txt > programs.txt
while IFS= read -r line; do
	program=$("${TCPDUMP:-tcpdump}" -O -y EN10MB -ddd -- "$line") || exit 1
	printf '%s\n%s\n' "$line" "$program"
done

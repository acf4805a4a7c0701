"""How the head takes a job over, by whichever way its archive came."""

GOES_ON = 17  # the exit code for a run of this name that goes on
# As root: the job's files in place, whole, and then the mark that makes it a run. One job at a time: two people may
# give the same name. The unit is restarted, since the driver of a run that has just ended may be there still.
TAKE_OVER = f"""
incoming=$1 folder=$2 name=$3 unit=$4
jobs=$(dirname "$folder")
new=$jobs/.new-$name
exec 9<"$jobs"
flock 9
if test -e "$folder/active"; then rm -f "$incoming"; exit {GOES_ON}; fi
rm -rf "$new"
mkdir "$new"
tar -xmf "$incoming" -C "$new" --no-same-owner
rm -f "$incoming"
chown -R sweepfleet:sweepfleet "$new"
chmod -R u=rwX,go=rX "$new"
rm -rf "$folder"
mv "$new" "$folder"
install -o sweepfleet -g sweepfleet -m 644 /dev/null "$folder/active"
sync "$folder"/* "$folder" "$jobs"
systemctl reset-failed "$unit" 2>/dev/null || true
systemctl restart --no-block "$unit"
"""

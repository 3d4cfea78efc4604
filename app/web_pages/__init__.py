"""Pages for people who have no account here: plain HTML without scripts. Pure: functions turn values into a page."""

# Feast's commands, in this folder: likewise run bash steps.sh
set -e
export LIKEWISE_NOW=2024-03-31 # the data's last day is now
python make_data.py
feast apply
feast feature-views list
feast materialize 2024-03-01 2024-03-31
python recommend.py
